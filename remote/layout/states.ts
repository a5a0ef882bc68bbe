import { randomBytes } from 'node:crypto';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { codecs } from '../../objects/index.ts';
import type { Bucket } from '../bucket/bucket.ts';
import { checkpointName, FORMAT_NAME, STATES, stateName, stateNumber } from './names.ts';
import {
  applyChange,
  EMPTY_CONTENT,
  encodeCheckpoint,
  encodeState,
  parseCheckpoint,
  parseState,
  type RemoteChange,
  type RemoteContent,
  type RemoteState,
} from './state.ts';

/** No state and no checkpoint is longer: a list of 100,000 packs takes 25 MB. */
const MOST_BYTES = 256 * 2 ** 20;

/** Changes are written again with each state at least until they take this much. */
const CHANGES_BYTES = 4096;

const NO_CHANGE: RemoteChange = { refs: [], added: [], buried: [], gone: [] };

/** Keeps checkpoints, which never change, nearer than the bucket. */
export interface CheckpointCache {
  get(digest: string): Promise<Uint8Array | undefined>;
  put(digest: string, bytes: Uint8Array): Promise<void>;
}

/** The newest state that was seen. */
export interface SeenState {
  readonly number: number;
  readonly writer: string;
}

/** Remembers what was seen of a bucket, so that it is noticed when the bucket goes back. */
export interface StateMemory {
  /** Undefined when nothing was seen yet. */
  get(): Promise<SeenState | undefined>;
  put(seen: SeenState): Promise<void>;
  /** What makes it forget, for messages. */
  readonly toForget: string;
}

/** What a bucket says at one moment. */
export interface RemoteSnapshot {
  /** 0 for a bucket to which nothing was pushed yet. */
  readonly number: number;
  readonly content: RemoteContent;
  readonly state: RemoteState;
  /** Bytes of the state's checkpoint. */
  readonly checkpointBytes: number;
}

/**
 * The states of a bucket, numbered objects of which each is made only when nobody has made one of that number (`If-None-Match: *`): so all writers come one after
 * the other, and none undoes what another has done.
 */
export class RemoteStates {
  readonly #bucket: Bucket;
  readonly #cache: CheckpointCache;
  readonly #memory: StateMemory | undefined;

  constructor(
    bucket: Bucket,
    cache: CheckpointCache = { get: async () => undefined, put: async () => {} },
    memory?: StateMemory,
  ) {
    this.#bucket = bucket;
    this.#cache = cache;
    this.#memory = memory;
  }

  /**
   * The newest state: two requests, and one for a checkpoint that is not at hand.
   * @throws ImgstoreError `REMOTE_…`; `REMOTE_FAILED` also where an older state is the newest than was seen before
   */
  async newest(): Promise<RemoteSnapshot> {
    // Before the server is asked: another process may see a newer state meanwhile.
    const seen = await this.#memory?.get();
    const snapshot = await this.#newest();
    await this.#compare(snapshot, seen);
    return snapshot;
  }

  async #newest(): Promise<RemoteSnapshot> {
    const number = await this.#newestNumber();
    if (number === 0) {
      const state = { number, checkpoint: undefined, changes: [], writer: '-' };
      return { number, content: EMPTY_CONTENT, state, checkpointBytes: 0 };
    }
    try {
      return await this.#read(number);
    } catch (error) {
      // `gc` removes a state as soon as there is a newer one, if it is old enough.
      const newer = isImgstoreError(error, 'REMOTE_FAILED') ? await this.#newestNumber() : number;
      if (newer === number) throw error;
      return this.#read(newer);
    }
  }

  /** 0 when there is none. */
  async #newestNumber(): Promise<number> {
    for await (const { name, size } of this.#bucket.list(STATES, 1)) {
      const number = stateNumber(name);
      if (number === undefined)
        throw this.#bad(`${name} is no name of a state: something else has written below ${STATES}`);
      if (size > MOST_BYTES) throw this.#bad(`${name} has ${size} bytes, which is too much for a state`);
      return number;
    }
    return 0;
  }

  /**
   * Makes the state that comes after another.
   * @param step what changes; all else stays as it is
   * @returns undefined when somebody else has made one of its number: look at the newest, and decide again
   * @throws ImgstoreError `REMOTE_…`
   */
  async publish(after: RemoteSnapshot, step: Partial<RemoteChange>): Promise<RemoteSnapshot | undefined> {
    const change = { ...NO_CHANGE, ...step };
    const number = after.number + 1;
    const content = applyChange(after.content, change);
    const writer = randomBytes(8).toString('hex');
    const changed = { ...after.state, number, writer, changes: [...after.state.changes, change] };
    const next = await this.#shortened(changed, content, after.checkpointBytes);
    if (!(await this.#bucket.putNew(stateName(number), encodeState(next.state)))) return undefined;
    await this.#memory?.put({ number, writer });
    return { number, content, ...next };
  }

  /** Numbers only rise, and no state is written over. A bucket that is empty altogether was emptied, and is begun anew. */
  async #compare({ number, state: { writer } }: RemoteSnapshot, seen: SeenState | undefined): Promise<void> {
    if (number === seen?.number) {
      if (writer !== seen.writer)
        throw this.#wentBack(`state ${number} is another one than was there before`);
      return;
    }
    const isOlder = seen !== undefined && number < seen.number;
    const isEmptied = isOlder && number === 0 && (await this.#bucket.stat(FORMAT_NAME)) === undefined;
    if (isOlder && !isEmptied)
      throw this.#wentBack(`the newest state is ${number}, where ${seen.number} was there before`);
    await this.#memory?.put({ number, writer });
  }

  #wentBack(what: string): ImgstoreError {
    return this.#bad(
      `${what}: somebody has put the bucket back to what it was, or has removed the newest states: when that is meant, ${this.#memory!.toForget}`,
    );
  }

  async #shortened(state: RemoteState, content: RemoteContent, checkpointBytes: number) {
    if (encodeState(state).length <= mostChangeBytes(state, checkpointBytes))
      return { state, checkpointBytes };
    const bytes = encodeCheckpoint(content, state.writer);
    const digest = digestOf(bytes);
    // Before the state that names it. When that is not made after all, it is in nobody's way.
    await this.#bucket.put(checkpointName(digest), bytes);
    await this.#cache.put(digest, bytes);
    return {
      state: { ...state, checkpoint: digest, changes: [] },
      checkpointBytes: bytes.length,
    };
  }

  async #read(number: number): Promise<RemoteSnapshot> {
    const name = stateName(number);
    const where = `${this.#bucket.where}: ${name}`;
    const state = parseState(await this.#get(name), where);
    if (state.number !== number) throw this.#bad(`${name} holds state ${state.number}, not ${number}`);
    let content = EMPTY_CONTENT;
    let checkpointBytes = 0;
    if (state.checkpoint !== undefined) {
      const bytes = await this.#checkpoint(state.checkpoint);
      content = parseCheckpoint(bytes, `${this.#bucket.where}: ${checkpointName(state.checkpoint)}`);
      checkpointBytes = bytes.length;
    }
    return { number, content: state.changes.reduce(applyChange, content), state, checkpointBytes };
  }

  async #checkpoint(digest: string): Promise<Uint8Array> {
    const kept = await this.#cache.get(digest);
    if (kept !== undefined && digestOf(kept) === digest) return kept;
    const name = checkpointName(digest);
    const bytes = await this.#get(name);
    if (digestOf(bytes) !== digest) throw this.#bad(`${name} is damaged: its bytes do not fit its name`);
    await this.#cache.put(digest, bytes);
    return bytes;
  }

  /** An object that was named by another, of no more bytes than one of these can have: whoever has put it there chose how many it has. */
  async #get(name: string): Promise<Uint8Array> {
    try {
      const bytes = await this.#bucket.get(name, { offset: 0, length: MOST_BYTES + 1 });
      if (bytes.length <= MOST_BYTES) return bytes;
    } catch (error) {
      if (!isImgstoreError(error, 'NOT_FOUND')) throw error;
      throw this.#bad(`${name} is missing: something else than imgstore has removed it`);
    }
    throw this.#bad(`${name} has more than ${MOST_BYTES} bytes: imgstore did not put it there`);
  }

  #bad(reason: string): ImgstoreError {
    return new ImgstoreError('REMOTE_FAILED', `${this.#bucket.where}: ${reason}`, {
      where: this.#bucket.where,
    });
  }
}

/**
 * Bytes of changes from which on a checkpoint is made. With changes of c bytes and checkpoints of C, a bound of S costs each push S / 2 for its state and C · c / S for its share of a checkpoint: least for
 * S = √(2 · C · c).
 */
function mostChangeBytes(state: RemoteState, checkpointBytes: number): number {
  const last = encodeState({ ...state, changes: state.changes.slice(-1) }).length;
  return Math.max(CHANGES_BYTES, Math.sqrt(2 * checkpointBytes * last));
}

function digestOf(bytes: Uint8Array): string {
  return Buffer.from(codecs().hash.digest(bytes)).toString('hex');
}
