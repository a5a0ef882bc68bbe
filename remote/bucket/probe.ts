import { randomBytes } from 'node:crypto';
import { type ErrorCode, isImgstoreError } from '../../errors/index.ts';
import type { Bucket } from './bucket.ts';

/** Writers that put one name at the same time, as far as the bucket lets so many requests run at once. */
const WRITERS = 16;
/** Races: a server that looks first and puts then may be lucky in one. */
const ROUNDS = 4;

/** Errors that are answers. */
const ANSWERS: readonly ErrorCode[] = ['REMOTE_FAILED', 'NOT_FOUND'];

/** How a server treats what may be put only where nothing is. */
export type ConditionalPut =
  /** One writer wins. */
  | 'atomic'
  /** It looks first and puts then, so that several win when they come at once. */
  | 'racy'
  /** What was there is replaced. */
  | 'ignored'
  /** It says that it cannot do that. */
  | 'unsupported';

/** One thing that a remote needs of a bucket. */
export interface ProbeFinding {
  /** What should hold, for people: `one of several writers who put the same name at once wins`. */
  readonly claim: string;
  /** How it does not hold, for people; undefined: it holds. */
  readonly fault?: string | undefined;
}

export interface ProbeResult {
  readonly conditionalPut: ConditionalPut;
  /** In the order they were tried. */
  readonly findings: readonly ProbeFinding[];
  /** True when all holds. */
  readonly isFit: boolean;
}

/**
 * Tries whether a bucket does what a remote needs, with objects below `probe/` that are removed in the end. That a name is given but once is tried by a race, as there are servers that
 * replace objects without a word, and those that look and put in two steps.
 * @throws ImgstoreError `REMOTE_…` when the server is not reached or refuses who asks, `INTERRUPTED`
 */
export async function probeBucket(bucket: Bucket): Promise<ProbeResult> {
  const folder = `probe/${randomBytes(10).toString('hex')}/`;
  const probe = new BucketProbe(bucket, folder);
  let findings: ProbeFinding[];
  try {
    findings = await probe.run();
  } catch (error) {
    // Why it failed is to be told, not that it could not be cleaned up then either.
    await probe.cleanUp().catch(() => undefined);
    throw error;
  }
  // There are keys that may put and not remove.
  findings.push(await tried('what was put can be removed', () => probe.cleanUp(), ['REMOTE_DENIED']));
  const isFit = findings.every(({ fault }) => fault === undefined);
  return { conditionalPut: probe.conditionalPut, findings, isFit };
}

class BucketProbe {
  conditionalPut: ConditionalPut = 'atomic';
  readonly #bucket: Bucket;
  readonly #folder: string;
  readonly #names = new Set<string>();

  constructor(bucket: Bucket, folder: string) {
    this.#bucket = bucket;
    this.#folder = folder;
  }

  async run(): Promise<ProbeFinding[]> {
    return [
      await tried('what was put is there at once, and is read back as it is', () => this.#roundTrip()),
      await tried('parts of an object can be read', () => this.#ranges()),
      await tried('a listing has what was put before, in the order of the names', () => this.#listing()),
      await tried('a name that is taken is not given again', () => this.#refusal()),
      await tried('one of several writers who put the same name at once wins', () => this.#races()),
    ];
  }

  /** @returns what is left, if anything is */
  async cleanUp(): Promise<string | undefined> {
    await this.#bucket.remove([...this.#names]);
    for (const name of [...this.#names].slice(0, 1))
      if ((await this.#bucket.stat(name)) !== undefined) return `${name} is still there`;
    for await (const { name } of this.#bucket.list(this.#folder, 1)) return `${name} is still listed`;
    return undefined;
  }

  async #roundTrip(): Promise<string | undefined> {
    const name = this.#name('round-trip');
    if ((await this.#bucket.stat(name)) !== undefined) return 'an object that nobody put is there';
    for (const bytes of [randomBytes(100_000), randomBytes(70_000)]) {
      await this.#bucket.put(name, bytes);
      if (!bytes.equals(await this.#bucket.get(name))) return 'other bytes came back than were put';
      const size = (await this.#bucket.stat(name))?.size;
      if (size !== bytes.length)
        return `an object of ${bytes.length} bytes is said to be ${size === undefined ? 'missing' : `${size} bytes long`}`;
    }
    return undefined;
  }

  async #ranges(): Promise<string | undefined> {
    const name = this.#name('ranges');
    const bytes = randomBytes(10_000);
    await this.#bucket.put(name, bytes);
    for (const [offset, length] of [
      [0, 1],
      [1234, 5678],
      [9990, 100],
    ] as const) {
      const part = await this.#bucket.get(name, { offset, length });
      if (!bytes.subarray(offset, offset + length).equals(part))
        return `other bytes came back for ${length} bytes at ${offset}`;
    }
    return undefined;
  }

  async #listing(): Promise<string | undefined> {
    const names = ['list/b', 'list/a/c', 'list/a-b', 'list/a'].map((name) => this.#name(name));
    for (const name of names) {
      await this.#bucket.put(name, Buffer.from(name));
      if (!(await this.#listed('list/')).includes(name)) return `${name} was put and is not listed`;
    }
    const [listed, sorted] = [await this.#listed('list/'), names.toSorted()];
    return listed.join() === sorted.join() ? undefined : 'the listing has another order, or other names';
  }

  async #refusal(): Promise<string | undefined> {
    const name = this.#name('refusal');
    const bytes = Buffer.from('first');
    if (!(await this.#putNew(name, bytes))) {
      if (this.conditionalPut === 'unsupported') return 'the server does not know If-None-Match (501)';
      return 'a name that is free is refused';
    }
    const isGivenAgain = await this.#putNew(name, Buffer.from('second'));
    if (!isGivenAgain && bytes.equals(await this.#bucket.get(name))) return undefined;
    this.conditionalPut = 'ignored';
    return 'the server replaces an object that was to be put only where none is (it ignores If-None-Match)';
  }

  async #races(): Promise<string | undefined> {
    if (this.conditionalPut !== 'atomic') return 'it cannot be so, as a name that is taken is not refused';
    for (let round = 1; round <= ROUNDS; round++) {
      const fault = await this.#race(this.#name(`race-${round}`));
      if (fault === undefined) continue;
      this.conditionalPut = 'racy';
      return `${fault} (the server looks whether there is one, and puts later)`;
    }
    return undefined;
  }

  async #race(name: string): Promise<string | undefined> {
    const bodies = Array.from({ length: WRITERS }, (_, i) =>
      Buffer.from(`${i} ${randomBytes(100).toString('hex')}`),
    );
    const results = await Promise.allSettled(bodies.map((body) => this.#putNew(name, body)));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    const winners = bodies.filter((_, i) => (results[i] as PromiseFulfilledResult<boolean>).value);
    if (winners.length !== 1)
      return `${winners.length} of ${WRITERS} writers were told that theirs is the object`;
    const isKept = winners[0]!.equals(await this.#bucket.get(name));
    if (!isKept) return 'the object is not that of the writer who was told so';
    return (await this.#putNew(name, Buffer.from('late')))
      ? 'a late writer got a name that was taken'
      : undefined;
  }

  async #putNew(name: string, body: Uint8Array): Promise<boolean> {
    try {
      return await this.#bucket.putNew(name, body);
    } catch (error) {
      if (!isImgstoreError(error) || error.data.status !== 501) throw error;
      this.conditionalPut = 'unsupported';
      return false;
    }
  }

  async #listed(prefix: string): Promise<string[]> {
    const names: string[] = [];
    for await (const { name } of this.#bucket.list(this.#folder + prefix)) names.push(name);
    return names;
  }

  #name(name: string): string {
    const whole = this.#folder + name;
    this.#names.add(whole);
    return whole;
  }
}

/**
 * A finding. What the server answers is one too, unless nobody can go on with it.
 * @param more codes of errors that are findings here
 */
async function tried(
  claim: string,
  check: () => Promise<string | undefined>,
  more: readonly ErrorCode[] = [],
): Promise<ProbeFinding> {
  try {
    const fault = await check();
    return fault === undefined ? { claim } : { claim, fault };
  } catch (error) {
    if (!isImgstoreError(error) || ![...ANSWERS, ...more].includes(error.code)) throw error;
    return { claim, fault: error.message };
  }
}
