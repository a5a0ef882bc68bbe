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

  /** @param stream must have no other reader */
  constructor(stream: Duplex) {
    this.#stream = stream;
    const wake = () => this.#wake?.();
    const end = (error: unknown) => {
      this.#ended ??= { error };
      wake();
    };
    stream.on('readable', wake);
    stream.on('error', end);
    stream.on('end', () => end(new StreamEnded()));
    stream.on('close', () => end(new StreamEnded()));
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
