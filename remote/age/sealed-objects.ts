import { ImgstoreError } from '../../errors/index.ts';
import type { Bucket, BucketBody, BucketRange } from '../bucket/bucket.ts';
import { HEAD_READ, type Head, Heads } from './heads.ts';
import type { AgeKeys } from './keys.ts';
import { openRange, openStream } from './open.ts';
import { CHUNK, plainSize, STORED_CHUNK } from './payload.ts';
import { splitOff } from './pieces.ts';
import { sealBytes, sealedBody } from './seal.ts';

const NOTHING = new Uint8Array();

/**
 * The objects of a bucket as age files: all that is put is encrypted, all that is read is decrypted and was authenticated. Knows nothing of
 * hidden names. @throws ImgstoreError of all methods: those of the bucket; `WRONG_KEY` for what is encrypted to others, `REMOTE_FAILED` for
 * what is not encrypted, `DAMAGED` for what is cut or was changed.
 */
export class SealedObjects {
  readonly #bucket: Bucket;
  readonly #keys: AgeKeys;
  readonly #heads: Heads;

  constructor(bucket: Bucket, keys: AgeKeys) {
    this.#bucket = bucket;
    this.#keys = keys;
    this.#heads = new Heads(bucket, keys);
  }

  async put(name: string, body: BucketBody): Promise<void> {
    const header = await this.#keys.newHeader();
    const sealed =
      body instanceof Uint8Array ? sealBytes(header, body) : sealedBody(header, body, this.#where(name));
    await this.#changing([name], () => this.#bucket.put(name, sealed));
  }

  async putNew(name: string, body: Uint8Array): Promise<boolean> {
    const sealed = sealBytes(await this.#keys.newHeader(), body);
    return this.#changing([name], () => this.#bucket.putNew(name, sealed));
  }

  async remove(names: readonly string[]): Promise<void> {
    await this.#changing(names, () => this.#bucket.remove(names));
  }

  /** Bytes of the plaintext of an object that has `stored` bytes. */
  async size(name: string, stored: number): Promise<number> {
    return this.#heads.with(name, async (head) => this.#sizeBehind(head, name, stored));
  }

  /** An object's plaintext, or a part of it, of which only the chunks that it is in are read. */
  async get(name: string, range?: BucketRange): Promise<Uint8Array> {
    if (range === undefined) return this.#getWhole(name);
    if (range.length <= 0) return NOTHING;
    if (range.offset < CHUNK && !this.#heads.has(name)) return this.#getFirst(name, range);
    return this.#heads.with(name, (head) => this.#getBehind(head, name, range));
  }

  /** An object's plaintext from `offset` on. */
  async *read(name: string, offset = 0): AsyncGenerator<Uint8Array> {
    if (offset === 0) {
      const { found: head, rest } = await splitOff(this.#bucket.read(name), async (bytes, isAll) => {
        const end = this.#heads.findEnd(name, bytes, isAll);
        return end === undefined ? undefined : { found: await this.#heads.open(name, bytes, end), end };
      });
      yield* this.#open(head, name, 0, rest);
      return;
    }
    // The first chunk is read under the head, so that one of an object that was replaced is noticed.
    const { first, opened } = await this.#heads.with(name, (head) => this.#beginAt(head, name, offset));
    try {
      if (first !== undefined) yield first;
      yield* opened;
    } finally {
      await opened.return(undefined);
    }
  }

  async #beginAt(head: Head, name: string, offset: number) {
    const opened = this.#open(head, name, offset, this.#bucket.read(name, head.bytes + chunkStart(offset)));
    const { value, done } = await opened.next();
    if (done === true) await this.#requireEnd(head, name);
    return { first: done === true ? undefined : value, opened };
  }

  #open(head: Head, name: string, offset: number, stored: AsyncIterable<Uint8Array>) {
    return openStream({ key: head.key, where: this.#where(name), stored, offset });
  }

  async #getWhole(name: string): Promise<Uint8Array> {
    const bytes = await this.#bucket.get(name);
    const end = this.#heads.requireEnd(name, bytes);
    const { key } = await this.#heads.open(name, bytes, end);
    const range = { offset: 0, length: Number.MAX_SAFE_INTEGER };
    return openRange({ key, where: this.#where(name), stored: bytes.subarray(end), ended: true, range });
  }

  /** A range that begins in the first chunk, read together with the head, which is before it. */
  async #getFirst(name: string, range: BucketRange): Promise<Uint8Array> {
    const { length } = storedRange(range);
    const asked = HEAD_READ + length;
    const { head, bytes } = await this.#heads.readBeginning(name, asked);
    const stored = bytes.subarray(head.bytes, head.bytes + length);
    const ended = bytes.length < asked && bytes.length <= head.bytes + length;
    // A head that is longer than what was read for it leaves too little for the range.
    if (!ended && stored.length < length) return this.#getBehind(head, name, range);
    return openRange({ key: head.key, where: this.#where(name), stored, ended, range });
  }

  async #getBehind(head: Head, name: string, range: BucketRange): Promise<Uint8Array> {
    const { offset, length } = storedRange(range);
    const stored = await this.#bucket.get(name, { offset: head.bytes + offset, length });
    if (stored.length === 0) {
      await this.#requireEnd(head, name);
      return NOTHING;
    }
    const ended = stored.length < length;
    return openRange({ key: head.key, where: this.#where(name), stored, ended, range });
  }

  /** There is nothing behind the end of an object; that it is its end only its last chunk proves. */
  async #requireEnd(head: Head, name: string): Promise<void> {
    const entry = await this.#bucket.stat(name);
    if (entry === undefined) throw new ImgstoreError('NOT_FOUND', `${this.#where(name)}: no such object`);
    const size = this.#sizeBehind(head, name, entry.size);
    const range = { offset: Math.max(0, size - 1), length: 1 };
    const { offset, length } = storedRange(range);
    const stored = await this.#bucket.get(name, { offset: head.bytes + offset, length });
    openRange({ key: head.key, where: this.#where(name), stored, ended: true, range });
  }

  #sizeBehind(head: Head, name: string, stored: number): number {
    const size = plainSize(stored - head.bytes);
    if (size !== undefined) return size;
    throw new ImgstoreError(
      'DAMAGED',
      `${this.#where(name)}: has ${stored} bytes, which no encrypted object with its header has: it was cut or changed; put it there again from a store that has it`,
      { name, size: stored },
    );
  }

  /** Changes objects, and forgets their heads, also those that were read meanwhile. */
  async #changing<T>(names: readonly string[], change: () => Promise<T>): Promise<T> {
    try {
      return await change();
    } finally {
      for (const name of names) this.#heads.forget(name);
    }
  }

  #where(name: string): string {
    return `${this.#bucket.where}: ${name}`;
  }
}

/** The whole chunks that have the bytes of a range, as a range of what is behind the head. */
function storedRange({ offset, length }: BucketRange): BucketRange {
  const start = chunkStart(offset);
  return { offset: start, length: chunkStart(offset + length - 1) + STORED_CHUNK - start };
}

function chunkStart(offset: number): number {
  return Math.floor(offset / CHUNK) * STORED_CHUNK;
}
