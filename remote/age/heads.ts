import { ImgstoreError } from '../../errors/index.ts';
import type { Bucket } from '../bucket/bucket.ts';
import { headerLength, isEncrypted, MAX_HEADER, VERSION_BYTES } from './header.ts';
import type { AgeKeys } from './keys.ts';
import { NONCE, payloadKey } from './payload.ts';

/** What is to be known of an age file to read any of its chunks. */
export interface Head {
  /** Bytes before the first chunk: header and nonce. */
  readonly bytes: number;
  /** Of the chunks. */
  readonly key: Uint8Array;
}

/** Bytes that are read for a head at first: enough for nine recipients. */
export const HEAD_READ = 1024;

/** The most bytes of a head. */
const MAX_HEAD = MAX_HEADER + NONCE;

/** Heads that are remembered, each some 200 bytes: without them each range would take a request more. */
const MAX_HEADS = 1024;

/**
 * The heads of the objects of a bucket. @throws ImgstoreError of all methods: those of the bucket; `WRONG_KEY` for what is encrypted to
 * others, `REMOTE_FAILED` for what is not encrypted, `DAMAGED` for a header that is none.
 */
export class Heads {
  readonly #bucket: Bucket;
  readonly #keys: AgeKeys;
  /** In the order in which they were used. */
  readonly #known = new Map<string, Promise<Head>>();

  constructor(bucket: Bucket, keys: AgeKeys) {
    this.#bucket = bucket;
    this.#keys = keys;
  }

  has(name: string): boolean {
    return this.#known.has(name);
  }

  forget(name: string): void {
    this.#known.delete(name);
  }

  /** Does something by the head of an object; once more by one that is read anew when a remembered one does not fit, as the object may have been replaced. */
  async with<T>(name: string, use: (head: Head) => Promise<T>): Promise<T> {
    const known = this.#known.get(name);
    if (known !== undefined) {
      try {
        return await use(await this.#remember(name, known));
      } catch (error) {
        if (!(error instanceof ImgstoreError) || error.code !== 'DAMAGED') throw error;
        if (this.#known.get(name) === known) this.#known.delete(name);
      }
    }
    return use(await (this.#known.get(name) ?? this.#read(name)));
  }

  /** Reads bytes from the beginning of an object, or as many more as its head needs, and remembers the head. */
  async readBeginning(name: string, length: number): Promise<{ head: Head; bytes: Uint8Array }> {
    const beginning = this.#bytesWithHead(name, length);
    const head = this.#remember(
      name,
      beginning.then((bytes) => this.#decrypt(name, bytes.slice(0, this.requireEnd(name, bytes)))),
    );
    return { head: await head, bytes: await beginning };
  }

  /** Opens and remembers the head of an object, of which it is the first `end` bytes. */
  open(name: string, bytes: Uint8Array, end: number): Promise<Head> {
    return this.#remember(name, this.#decrypt(name, bytes.slice(0, end)));
  }

  /** Where the head ends that an object begins with; undefined when it may do so in bytes that are to come. */
  findEnd(name: string, bytes: Uint8Array, isAll: boolean): number | undefined {
    const mayGoOn = !isAll && bytes.length < (isEncrypted(bytes) ? MAX_HEAD : VERSION_BYTES);
    return mayGoOn ? headEnd(bytes) : this.requireEnd(name, bytes);
  }

  /** Where the head ends that is to be in the bytes from the beginning of an object. */
  requireEnd(name: string, bytes: Uint8Array): number {
    if (!isEncrypted(bytes)) throw this.#notEncrypted(name);
    const end = headEnd(bytes);
    if (end === undefined) throw this.#badHeader(name);
    return end;
  }

  async #read(name: string): Promise<Head> {
    return (await this.readBeginning(name, HEAD_READ)).head;
  }

  async #bytesWithHead(name: string, length: number): Promise<Uint8Array> {
    const bytes = await this.#bucket.get(name, { offset: 0, length });
    if (bytes.length < length || this.findEnd(name, bytes, false) !== undefined) return bytes;
    return this.#bucket.get(name, { offset: 0, length: MAX_HEAD });
  }

  async #decrypt(name: string, head: Uint8Array): Promise<Head> {
    const nonceAt = head.length - NONCE;
    const fileKey = await this.#keys.fileKey(head.subarray(0, nonceAt)).catch((error: unknown) => {
      throw this.#badHeader(name, error);
    });
    if (fileKey === undefined) throw this.#wrongKey(name);
    return { bytes: head.length, key: payloadKey(fileKey, head.subarray(nonceAt)) };
  }

  #remember(name: string, head: Promise<Head>): Promise<Head> {
    this.#known.delete(name);
    this.#known.set(name, head);
    head.catch(() => {
      if (this.#known.get(name) === head) this.#known.delete(name);
    });
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_HEADS && oldest !== undefined) this.#known.delete(oldest);
    return head;
  }

  #notEncrypted(name: string): ImgstoreError {
    return new ImgstoreError(
      'REMOTE_FAILED',
      `${this.#bucket.where}: ${name}: is not encrypted, as all in this bucket should be: another program put it there, or one without the keys; remove it, or use the remote without keys`,
      { name },
    );
  }

  #badHeader(name: string, cause?: unknown): ImgstoreError {
    return new ImgstoreError(
      'DAMAGED',
      `${this.#bucket.where}: ${name}: the header of its encryption is cut or was changed: put the object there again from a store that has it`,
      { name },
      cause,
    );
  }

  #wrongKey(name: string): ImgstoreError {
    const { identityFile } = this.#keys;
    return new ImgstoreError(
      'WRONG_KEY',
      `${this.#bucket.where}: ${name}: is encrypted to none of the identities in ${identityFile}: name a file with one that it was encrypted to`,
      { name, identityFile },
    );
  }
}

/** Where the nonce behind the header ends; undefined when that is not among the bytes. */
function headEnd(bytes: Uint8Array): number | undefined {
  const length = headerLength(bytes);
  return length === undefined || length + NONCE > bytes.length ? undefined : length + NONCE;
}
