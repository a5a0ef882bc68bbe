import { ImgstoreError } from '../../errors/index.ts';
import type { Bucket, BucketBody, BucketEntry, BucketRange } from '../../remote/index.ts';

interface Stored {
  readonly bytes: Uint8Array;
  readonly modified: Date;
}

/** A bucket in memory, which does each thing at once, for tests of what stands on buckets. */
export class MemoryBucket implements Bucket {
  readonly where = 's3://memory';
  readonly traffic = { requests: 0, sentBytes: 0, receivedBytes: 0 };
  /** By name: tests may look and change. */
  readonly objects = new Map<string, Stored>();

  async get(name: string, range?: BucketRange): Promise<Uint8Array> {
    const bytes = this.#stored(name).slice(range?.offset, range && range.offset + range.length);
    this.traffic.receivedBytes += bytes.length;
    return bytes;
  }

  async *read(name: string, offset = 0): AsyncGenerator<Uint8Array, void> {
    const bytes = this.#stored(name);
    for (let at = offset; at < bytes.length; at += 65536) {
      const piece = bytes.slice(at, at + 65536);
      this.traffic.receivedBytes += piece.length;
      yield piece;
    }
  }

  async put(name: string, body: BucketBody): Promise<void> {
    const bytes = await bytesOf(body);
    this.#request(name);
    this.#store(name, bytes);
  }

  async putNew(name: string, body: Uint8Array): Promise<boolean> {
    this.#request(name);
    if (this.objects.has(name)) return false;
    this.#store(name, Uint8Array.from(body));
    return true;
  }

  async stat(name: string): Promise<BucketEntry | undefined> {
    this.#request(name);
    const found = this.objects.get(name);
    return found && { name, size: found.bytes.length, modified: found.modified };
  }

  async *list(prefix: string, most = Number.POSITIVE_INFINITY): AsyncGenerator<BucketEntry, void> {
    this.traffic.requests++;
    const names = [...this.objects.keys()].filter((name) => name.startsWith(prefix));
    names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const name of names.slice(0, most)) {
      const { bytes, modified } = this.objects.get(name)!;
      yield { name, size: bytes.length, modified };
    }
  }

  async remove(names: readonly string[]): Promise<void> {
    for (const name of names) {
      this.#request(name);
      this.objects.delete(name);
    }
  }

  async close(): Promise<void> {}

  #store(name: string, bytes: Uint8Array): void {
    this.traffic.sentBytes += bytes.length;
    this.objects.set(name, { bytes, modified: new Date() });
  }

  #stored(name: string): Uint8Array {
    this.#request(name);
    const found = this.objects.get(name);
    if (found === undefined)
      throw new ImgstoreError('NOT_FOUND', `${this.where}: GET ${name}: no such object`);
    return found.bytes;
  }

  /** The rules of S3 for names, as S3's own buckets keep them. */
  #request(name: string): void {
    const isBad =
      name === '' ||
      Buffer.byteLength(name) > 1024 ||
      Buffer.from(name).toString() !== name ||
      /[\x00-\x1f\x7f]/.test(name) ||
      /(^|\/)\.\.?(\/|$)/.test(name);
    if (isBad) throw new ImgstoreError('BAD_NAME', `${this.where}: ${name}: no name of an object`);
    this.traffic.requests++;
  }
}

async function bytesOf(body: BucketBody): Promise<Uint8Array> {
  if (body instanceof Uint8Array) return Uint8Array.from(body);
  const pieces: Uint8Array[] = [];
  for await (const piece of body.open()) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}
