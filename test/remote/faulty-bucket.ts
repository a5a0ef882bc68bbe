import { ImgstoreError } from '../../errors/index.ts';
import type { Bucket, BucketBody, BucketEntry, BucketRange } from '../../remote/index.ts';

/** A request that came. */
export interface BucketRequest {
  /** From 1 on. */
  readonly number: number;
  readonly method: 'get' | 'read' | 'put' | 'putNew' | 'stat' | 'list' | 'remove';
  readonly name: string;
  /** Bytes that were asked for, or put. */
  bytes: number;
}

/** What goes wrong. */
export interface BucketFault {
  /** The number of the request. */
  readonly at: number;
  /** Whether it has its effect first. */
  readonly after: boolean;
  /** Whether all requests after it fail too, as for a process that is cut off. */
  readonly lasting: boolean;
}

/** A bucket between which and its user the network breaks. */
export class FaultyBucket implements Bucket {
  readonly requests: BucketRequest[] = [];
  fault: BucketFault | undefined;
  /** After so many bytes of all packs that are read nothing more comes. */
  cutAfter = Number.POSITIVE_INFINITY;
  /** Bytes of packs that were read. */
  readBytes = 0;
  /** Told of each request before it is done. */
  onRequest: (request: BucketRequest) => Promise<void> | void = () => {};
  readonly #bucket: Bucket;

  constructor(bucket: Bucket, fault?: BucketFault) {
    this.#bucket = bucket;
    this.fault = fault;
  }

  get where(): string {
    return this.#bucket.where;
  }

  get traffic(): Bucket['traffic'] {
    return this.#bucket.traffic;
  }

  /** Whether what was to go wrong has. */
  get isBroken(): boolean {
    return this.fault !== undefined && this.requests.length >= this.fault.at;
  }

  async get(name: string, range?: BucketRange): Promise<Uint8Array> {
    return this.#passing('get', name, 0, async (request) => {
      const bytes = await this.#bucket.get(name, range);
      request.bytes = bytes.length;
      this.readBytes += bytes.length;
      return bytes;
    });
  }

  async *read(name: string, offset = 0): AsyncGenerator<Uint8Array, void> {
    await this.#passing('read', name, 0, async () => {});
    for await (const piece of this.#bucket.read(name, offset)) {
      const left = this.cutAfter - this.readBytes;
      if (left > 0) yield piece.subarray(0, left);
      this.readBytes += Math.min(left, piece.length);
      if (left < piece.length) throw broken(this.where, `GET ${name}`);
    }
  }

  put(name: string, body: BucketBody): Promise<void> {
    const bytes = body instanceof Uint8Array ? body.length : body.size;
    return this.#passing('put', name, bytes, () => this.#bucket.put(name, body));
  }

  putNew(name: string, body: Uint8Array): Promise<boolean> {
    return this.#passing('putNew', name, body.length, () => this.#bucket.putNew(name, body));
  }

  stat(name: string): Promise<BucketEntry | undefined> {
    return this.#passing('stat', name, 0, () => this.#bucket.stat(name));
  }

  async *list(prefix: string, most?: number): AsyncGenerator<BucketEntry, void> {
    const entries = await this.#passing('list', prefix, 0, async () => {
      const all: BucketEntry[] = [];
      for await (const entry of this.#bucket.list(prefix, most)) all.push(entry);
      return all;
    });
    yield* entries;
  }

  remove(names: readonly string[]): Promise<void> {
    return this.#passing('remove', names.join(' '), 0, () => this.#bucket.remove(names));
  }

  async close(): Promise<void> {}

  async #passing<T>(
    method: BucketRequest['method'],
    name: string,
    bytes: number,
    work: (request: BucketRequest) => Promise<T>,
  ): Promise<T> {
    const request = { number: this.requests.length + 1, method, name, bytes };
    this.requests.push(request);
    await this.onRequest(request);
    const { at, after, lasting } = this.fault ?? { at: Number.NaN, after: false, lasting: false };
    const isAt = request.number === at;
    if ((isAt && !after) || (lasting && request.number > at)) throw broken(this.where, `${method} ${name}`);
    const result = await work(request);
    if (isAt) throw broken(this.where, `${method} ${name}`);
    return result;
  }
}

function broken(where: string, request: string): ImgstoreError {
  return new ImgstoreError('REMOTE_UNREACHABLE', `${where}: ${request}: the connection broke off`);
}
