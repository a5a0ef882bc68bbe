import { type BlockSource, type Extent, readPadded } from '../../block/index.ts';

/** Small tables lie close together, so more than one is read at once. */
const WINDOW_BYTES = 1024 * 1024;

/** Reads tables of the host file; what lies beyond its end reads as zeros, as in QEMU. */
export class HostTables {
  readonly #host: BlockSource;
  #window = Buffer.alloc(0);
  #start = 0;

  constructor(host: BlockSource) {
    this.#host = host;
  }

  /** Bytes of the file. */
  get size(): number {
    return this.#host.size;
  }

  /**
   * The bytes of a table at `offset`.
   * @param length bytes, at most a cluster. @returns a view that no later call changes.
   */
  async table(offset: number, length: number): Promise<Buffer> {
    const within = offset - this.#start;
    if (within >= 0 && within + length <= this.#window.length)
      return this.#window.subarray(within, within + length);
    this.#window = Buffer.allocUnsafeSlow(Math.max(length, WINDOW_BYTES));
    this.#start = offset;
    await readPadded(this.#host, offset, this.#window);
    return this.#window.subarray(0, length);
  }

  /** The part of [offset, offset + length) that the file has, in pieces that are multiples of 8 bytes. */
  async *pieces(offset: number, length: number): AsyncIterable<Buffer> {
    const end = Math.min(offset + length, this.#host.size);
    for (let at = offset; at < end; ) {
      const piece = Buffer.alloc(Math.ceil(Math.min(WINDOW_BYTES, end - at) / 8) * 8);
      await readPadded(this.#host, at, piece);
      yield piece;
      at += piece.length;
    }
  }

  /** Tells for ranges in ascending order whether they hold anything but holes of the file. */
  dataFinder(): DataFinder {
    return new DataFinder(this.#host);
  }
}

/** One walk over the extents of a file. */
export class DataFinder {
  readonly #extents: AsyncIterator<Extent>;
  #data: Extent | undefined;
  #done = false;

  constructor(host: BlockSource) {
    this.#extents = host.extents(0, host.size)[Symbol.asyncIterator]();
  }

  /**
   * A promise only when the walk must go on.
   * @param offset in bytes, not below that of the call before.
   */
  hasData(offset: number, length: number): boolean | Promise<boolean> {
    const data = this.#data;
    if (data !== undefined && data.offset + data.length > offset) return data.offset < offset + length;
    return this.#done ? false : this.#advance(offset, length);
  }

  async #advance(offset: number, length: number): Promise<boolean> {
    while (!this.#done && (this.#data === undefined || this.#data.offset + this.#data.length <= offset)) {
      const next = await this.#extents.next();
      if (next.done === true) this.#done = true;
      else if (next.value.kind === 'data') this.#data = next.value;
    }
    const data = this.#data;
    return data !== undefined && data.offset < offset + length && data.offset + data.length > offset;
  }
}
