import type { Bucket, BucketBody, BucketEntry, BucketRange, BucketTraffic } from '../../remote/index.ts';

const NO_TRAFFIC: BucketTraffic = { requests: 0, sentBytes: 0, receivedBytes: 0 };

/**
 * A bucket that is opened when something of it is wanted: credentials and keys are not needed before, and what a store has here can be read without them. One that could not be
 * opened is opened anew the next time.
 */
export class DeferredBucket implements Bucket {
  readonly where: string;
  readonly #open: () => Promise<Bucket>;
  #opening: Promise<Bucket> | undefined;
  #opened: Bucket | undefined;

  /** @param where for messages */
  constructor(where: string, open: () => Promise<Bucket>) {
    this.where = where;
    this.#open = open;
  }

  get traffic(): BucketTraffic {
    return this.#opened?.traffic ?? NO_TRAFFIC;
  }

  async get(name: string, range?: BucketRange): Promise<Uint8Array> {
    return (await this.#bucket()).get(name, range);
  }

  async *read(name: string, offset?: number): AsyncGenerator<Uint8Array, void> {
    yield* (await this.#bucket()).read(name, offset);
  }

  async put(name: string, body: BucketBody): Promise<void> {
    return (await this.#bucket()).put(name, body);
  }

  async putNew(name: string, body: Uint8Array): Promise<boolean> {
    return (await this.#bucket()).putNew(name, body);
  }

  async stat(name: string): Promise<BucketEntry | undefined> {
    return (await this.#bucket()).stat(name);
  }

  async *list(prefix: string, most?: number): AsyncGenerator<BucketEntry, void> {
    yield* (await this.#bucket()).list(prefix, most);
  }

  async remove(names: readonly string[]): Promise<void> {
    return (await this.#bucket()).remove(names);
  }

  async close(): Promise<void> {
    await (await this.#opening?.catch(() => undefined))?.close();
  }

  async #bucket(): Promise<Bucket> {
    this.#opening ??= this.#open();
    try {
      this.#opened = await this.#opening;
      return this.#opened;
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }
}
