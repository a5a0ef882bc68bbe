import { pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import { unsupported } from '../meta/fault.ts';
import type { LuksHash } from './hash.ts';

const derive = promisify(pbkdf2);

/**
 * Seconds that the keys of one image and all it stands on may take, if not said. QEMU makes a key take 4 of them on
 * the machine that makes the image, of which this one may be a slower one.
 */
const DEFAULT_SECONDS = 10;
/** Enough for a measure, and done in a few milliseconds. */
const SAMPLE_ITERATIONS = 5000;
const SAMPLES = 3;
/** node:crypto takes no more. */
const MAX_ITERATIONS = 2 ** 31 - 1;

/** What is derived, for errors. */
export interface KeyPurpose {
  /** The image's name. */
  readonly image: string;
  /** `key slot 3`. */
  readonly what: string;
}

/**
 * Derives keys from passwords, within a time that is set beforehand: the count of iterations stands in the image,
 * and a hostile one asks for an hour. Each derivation is measured by a short one first, since it cannot be stopped;
 * what is measured counts, so that other work on the machine does not make an image unreadable.
 */
export class KeyWork {
  readonly #limit: number;
  #left: number;
  /** Seconds of one iteration, by hash and length. */
  readonly #costs = new Map<string, number>();

  /** @param seconds of this machine's time for all keys together. */
  constructor(seconds: number = DEFAULT_SECONDS) {
    this.#limit = seconds;
    this.#left = seconds;
  }

  /**
   * PBKDF2 with HMAC (RFC 8018).
   * @throws ImgstoreError `UNSUPPORTED` when it would take longer than what is left.
   */
  async pbkdf2(
    secret: Uint8Array,
    salt: Uint8Array,
    iterations: number,
    length: number,
    hash: LuksHash,
    { image, what }: KeyPurpose,
  ): Promise<Buffer> {
    const expected = iterations * (await this.#cost(length, hash));
    if (expected > this.#left || iterations > MAX_ITERATIONS) {
      throw unsupported(
        image,
        `${what} asks for ${iterations} iterations, about ${expected.toFixed(1)} s: keys may take ${this.#limit} s, of which ${this.#left.toFixed(1)} s are left: allow more seconds for keys if the image is to be trusted`,
        { field: 'iterations', value: iterations },
      );
    }
    this.#left -= expected;
    return derive(secret, salt, iterations, length, hash);
  }

  /** Seconds that one iteration takes, at best. */
  async #cost(length: number, hash: LuksHash): Promise<number> {
    const name = `${hash} ${length}`;
    let cost = this.#costs.get(name);
    if (cost === undefined) {
      let best = Number.POSITIVE_INFINITY;
      for (let sample = 0; sample < SAMPLES; sample++) {
        const start = performance.now();
        await derive('', '', SAMPLE_ITERATIONS, length, hash);
        best = Math.min(best, performance.now() - start);
      }
      cost = best / 1000 / SAMPLE_ITERATIONS;
      this.#costs.set(name, cost);
    }
    return cost;
  }
}
