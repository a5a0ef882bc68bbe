import { ImgstoreError } from '../../../errors/index.ts';
import type { Bucket, BucketBody, BucketEntry, BucketRange } from '../../../remote/index.ts';

/** A request that a {@link PlainBucket} has answered. */
export interface Asked {
  readonly method: keyof Bucket;
  readonly name: string;
  /** Bytes that went over the network. */
  readonly bytes: number;
}

/** A bucket in memory, of which tests see and change what lies in it, and what was asked. */
export class PlainBucket implements Bucket {
  readonly where = 's3://bucket/prefix';
  readonly objects = new Map<string, Buffer>();
  readonly asked: Asked[] = [];
  /** Of the pieces in which `read` gives an object. */
  pieceBytes = 10_000;
  /** Of how many reads the end was not waited for, and the source not told. */
  openReads = 0;

  get traffic() {
    const bytesOf = (methods: readonly string[]) =>
      this.asked.filter(({ method }) => methods.includes(method)).reduce((sum, { bytes }) => sum + bytes, 0);
    return {
      requests: this.asked.length,
      sentBytes: bytesOf(['put', 'putNew']),
      receivedBytes: bytesOf(['get', 'read']),
    };
  }

  async get(name: string, range: BucketRange = { offset: 0, length: Number.MAX_SAFE_INTEGER }) {
    const part = this.#require(name).subarray(range.offset, range.offset + range.length);
    this.#note('get', name, part.length);
    return Uint8Array.from(part);
  }

  async *read(name: string, offset = 0) {
    const bytes = this.#require(name).subarray(offset);
    this.#note('read', name, bytes.length);
    this.openReads += 1;
    try {
      for (let at = 0; at < bytes.length; at += this.pieceBytes) {
        yield Uint8Array.from(bytes.subarray(at, at + this.pieceBytes));
      }
    } finally {
      this.openReads -= 1;
    }
  }

  async put(name: string, body: BucketBody) {
    const bytes = await bytesOfBody(body);
    this.#note('put', name, bytes.length);
    this.objects.set(name, bytes);
  }

  async putNew(name: string, body: Uint8Array) {
    await Promise.resolve();
    this.#note('putNew', name, body.length);
    if (this.objects.has(name)) return false;
    this.objects.set(name, Buffer.from(body));
    return true;
  }

  async stat(name: string) {
    this.#note('stat', name, 0);
    const bytes = this.objects.get(name);
    return bytes && entryOf(name, bytes);
  }

  async *list(prefix: string, most = Number.MAX_SAFE_INTEGER) {
    this.#note('list', prefix, 0);
    const names = [...this.objects.keys()].filter((name) => name.startsWith(prefix)).sort();
    for (const name of names.slice(0, most)) yield entryOf(name, this.objects.get(name)!);
  }

  async remove(names: readonly string[]) {
    for (const name of names) this.objects.delete(name);
  }

  async close() {}

  #require(name: string): Buffer {
    const bytes = this.objects.get(name);
    if (bytes === undefined) throw new ImgstoreError('NOT_FOUND', `${this.where}: ${name}: no such object`);
    return bytes;
  }

  #note(method: keyof Bucket, name: string, bytes: number): void {
    this.asked.push({ method, name, bytes });
  }
}

/** All bytes of a body, which must be as many as it says. */
export async function bytesOfBody(body: BucketBody): Promise<Buffer> {
  if (body instanceof Uint8Array) return Buffer.from(body);
  const bytes = await collect(body.open());
  if (bytes.length !== body.size) throw new Error(`${bytes.length} bytes of a body of ${body.size}`);
  return bytes;
}

export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

function entryOf(name: string, bytes: Buffer): BucketEntry {
  return { name, size: bytes.length, modified: new Date(1_700_000_000_000) };
}
