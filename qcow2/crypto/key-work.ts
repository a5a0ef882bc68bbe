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
/**
 * Argon2 gets so many times as long. cryptsetup lets a key take 2 seconds of several threads; in JavaScript it runs in
 * one, where a KiB takes 6 to 8 µs, so that the 4 GiB of a usual key (1 GiB, 4 passes) take half a minute.
 */
const ARGON2_FACTOR = 12;
/** cryptsetup's limit, which is out of reach by one KiB: the library takes fewer than 2^32 bytes. */
const MAX_ARGON2_KIB = 4 * 1024 * 1024 - 1;
/** Milliseconds that Argon2 may keep everything else from running, a key for stopping the program for one. */
const ARGON2_TURN = 100;
/** 1.3, the only one that LUKS has. */
const ARGON2_VERSION = 0x13;
/** Enough for a measure, and done in a few milliseconds. */
const SAMPLE_ITERATIONS = 5000;
const SAMPLE_KIB = 2048;
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

/** The costs of Argon2 (RFC 9106). */
export interface Argon2Costs {
  readonly type: 'argon2i' | 'argon2id';
  readonly passes: number;
  readonly memoryKib: number;
  readonly lanes: number;
  readonly salt: Uint8Array;
}

/**
 * Derives keys from passwords, within a time that is set beforehand: the count of iterations stands in the image,
 * and a hostile one asks for an hour. Each derivation is measured by a short one first, since it cannot be stopped;
 * what is measured counts, so that other work on the machine does not make an image unreadable.
 */
export class KeyWork {
  readonly #limit: number;
  #left: number;
  #argon2Left: number;
  /** Seconds of one iteration, by hash and length, or of one KiB of Argon2. */
  readonly #costs = new Map<string, number>();

  /** @param seconds of this machine's time for all keys together; Argon2 has {@link ARGON2_FACTOR} times as many. */
  constructor(seconds: number = DEFAULT_SECONDS) {
    this.#limit = seconds;
    this.#left = seconds;
    this.#argon2Left = seconds * ARGON2_FACTOR;
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
    const sample = () => derive('', '', SAMPLE_ITERATIONS, length, hash);
    const expected = iterations * (await this.#cost(`${hash} ${length}`, SAMPLE_ITERATIONS, sample));
    if (expected > this.#left || iterations > MAX_ITERATIONS) {
      const asked = { field: 'iterations', value: iterations, text: `${iterations} iterations` };
      throw tooLong(asked, expected, this.#limit, this.#left, { image, what });
    }
    this.#left -= expected;
    return derive(secret, salt, iterations, length, hash);
  }

  /**
   * Argon2 (RFC 9106), version 1.3.
   * @throws ImgstoreError `UNSUPPORTED` when it would take longer than what is left, or more memory than there is.
   */
  async argon2(
    secret: Uint8Array,
    costs: Argon2Costs,
    length: number,
    { image, what }: KeyPurpose,
  ): Promise<Uint8Array> {
    const { type, memoryKib, passes, salt } = costs;
    const mostKib = Math.min(MAX_ARGON2_KIB, Math.floor(process.availableMemory() / 1024));
    if (memoryKib > mostKib) throw tooMuch(memoryKib, mostKib, { image, what });
    const { argon2iAsync, argon2idAsync } = await import('@noble/hashes/argon2.js');
    const argon2 = type === 'argon2i' ? argon2iAsync : argon2idAsync;
    const options = { p: costs.lanes, version: ARGON2_VERSION, maxmem: 2 ** 32 - 1, asyncTick: ARGON2_TURN };
    const sample = () => argon2(salt, salt, { ...options, p: 1, t: 1, m: SAMPLE_KIB, dkLen: length });
    const expected = passes * memoryKib * (await this.#cost(type, SAMPLE_KIB, sample));
    if (expected > this.#argon2Left) {
      const asked = {
        field: 'time',
        value: passes,
        text: `${passes} passes over ${memoryKib} KiB of memory`,
      };
      throw tooLong(asked, expected, this.#limit * ARGON2_FACTOR, this.#argon2Left, { image, what });
    }
    this.#argon2Left -= expected;
    try {
      return await argon2(secret, salt, { ...options, t: passes, m: memoryKib, dkLen: length });
    } catch (error) {
      // A limit of the process may be below what the machine has.
      if (error instanceof RangeError) throw tooMuch(memoryKib, mostKib, { image, what });
      throw error;
    }
  }

  /** Seconds that one of the `units` of a sample takes, at best. */
  async #cost(name: string, units: number, sample: () => Promise<unknown>): Promise<number> {
    let cost = this.#costs.get(name);
    if (cost === undefined) {
      let best = Number.POSITIVE_INFINITY;
      for (let count = 0; count < SAMPLES; count++) {
        const start = performance.now();
        await sample();
        best = Math.min(best, performance.now() - start);
      }
      cost = best / 1000 / units;
      this.#costs.set(name, cost);
    }
    return cost;
  }
}

function tooMuch(memoryKib: number, mostKib: number, { image, what }: KeyPurpose): Error {
  return unsupported(
    image,
    `${what} asks for ${memoryKib} KiB of memory, of which at most ${mostKib} can be had: change it with cryptsetup luksConvertKey --pbkdf pbkdf2`,
    { field: 'memory', value: memoryKib },
  );
}

function tooLong(
  { field, value, text }: { readonly field: string; readonly value: number; readonly text: string },
  expected: number,
  limit: number,
  left: number,
  { image, what }: KeyPurpose,
): Error {
  return unsupported(
    image,
    `${what} asks for ${text}, about ${expected.toFixed(1)} s: keys may take ${limit} s, of which ${left.toFixed(1)} s are left: allow more seconds for keys if the image is to be trusted, or let cryptsetup luksConvertKey make it cheaper`,
    { field, value },
  );
}
