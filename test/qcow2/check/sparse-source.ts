import { type BlockSource, checkRange, type Extent } from '../../../block/index.ts';

/** A huge file that is nearly all holes, as an attacker can send in a few bytes. */
export class SparseSource implements BlockSource {
  readonly size: number;
  readonly #pieces: readonly { readonly offset: number; readonly bytes: Buffer }[];
  /** Bytes that were read. */
  readBytes = 0;

  /** @param pieces what the file holds, by offset. */
  constructor(size: number, pieces: ReadonlyMap<number, Buffer>) {
    this.size = size;
    this.#pieces = [...pieces]
      .map(([offset, bytes]) => ({ offset, bytes }))
      .sort((a, b) => a.offset - b.offset);
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    let at = offset;
    for (const piece of this.#pieces) {
      const from = Math.max(at, piece.offset);
      const to = Math.min(offset + length, piece.offset + piece.bytes.length);
      if (from >= to) continue;
      if (from > at) yield { offset: at, length: from - at, kind: 'hole' };
      yield { offset: from, length: to - from, kind: 'data' };
      at = to;
    }
    if (at < offset + length) yield { offset: at, length: offset + length - at, kind: 'hole' };
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    this.readBytes += into.length;
    into.fill(0);
    for (const { offset: start, bytes } of this.#pieces) {
      const from = Math.max(offset, start);
      const to = Math.min(offset + into.length, start + bytes.length);
      if (from < to) into.set(bytes.subarray(from - start, to - start), from - offset);
    }
  }

  async close(): Promise<void> {}
}
