import { type BlockSource, checkRange, type Extent } from './source.ts';

/** A disk held in memory: for small disks, for examples and for tests. */
export class MemorySource implements BlockSource {
  readonly size: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.size = bytes.length;
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    if (length > 0) yield { offset, length, kind: 'data' };
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    into.set(this.#bytes.subarray(offset, offset + into.length));
  }

  async close(): Promise<void> {}
}
