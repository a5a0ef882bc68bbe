import type { Duplex } from 'node:stream';

/**
 * Reads exact numbers of bytes from a stream. One read at a time. What has arrived but was not asked for stays in the
 * stream, which then stops the other side, so memory is bounded by the stream's own buffer.
 */
export class ByteReader {
  readonly #stream: Duplex;
  /** What was taken out of the stream and not yet asked for. */
  #rest: Buffer = Buffer.alloc(0);
  #ended: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;
  readonly #listeners: readonly (readonly [string, (error: unknown) => void])[];

  /** @param stream must have no other reader */
  constructor(stream: Duplex) {
    this.#stream = stream;
    const wake = () => this.#wake?.();
    const end = (error: unknown) => {
      this.#ended ??= { error };
      wake();
    };
    const stop = () => end(new StreamEnded());
    this.#listeners = [
      ['readable', wake],
      ['error', end],
      ['end', stop],
      ['close', stop],
    ];
    for (const [event, listener] of this.#listeners) stream.on(event, listener);
  }

  /** Nothing has arrived that was not asked for. */
  get isEmpty(): boolean {
    return this.#rest.length === 0 && this.#stream.readableLength === 0;
  }

  /** Gives the stream to another reader. @returns what was taken out of it and not read */
  detach(): Buffer {
    for (const [event, listener] of this.#listeners) this.#stream.off(event, listener);
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest;
  }

  /** Reads past `length` bytes. @throws StreamEnded when the stream ends before, or the stream's error */
  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) {
      if (this.#rest.length === 0) this.#rest = await this.#next();
      const part = Math.min(left, this.#rest.length);
      this.#rest = this.#rest.subarray(part);
      left -= part;
    }
  }

  /** @throws StreamEnded when the stream ends before, or the stream's error */
  async read(length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    await this.readInto(bytes);
    return bytes;
  }

  /** Fills all of `into`. @throws StreamEnded when the stream ends before, or the stream's error */
  async readInto(into: Uint8Array): Promise<void> {
    let done = 0;
    while (done < into.length) {
      if (this.#rest.length === 0) this.#rest = await this.#next();
      const part = this.#rest.subarray(0, into.length - done);
      into.set(part, done);
      done += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
  }

  async #next(): Promise<Buffer> {
    for (;;) {
      const chunk: Buffer | null = this.#stream.read();
      if (chunk !== null) return chunk;
      if (this.#ended !== undefined) throw this.#ended.error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}

/** The other side ended the stream, where more was to come. */
export class StreamEnded extends Error {
  override readonly name = 'StreamEnded';
}
