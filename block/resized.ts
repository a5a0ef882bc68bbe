import type { FilePiece } from './file-piece.ts';
import { locatePadded, readPadded } from './padded.ts';
import { type BlockSource, checkRange, type Extent } from './source.ts';

/** A disk made shorter, or longer by zeros, to be laid beside another of that size. */
export class ResizedSource implements BlockSource {
  readonly size: number;
  readonly #source: BlockSource;

  /** @param size in bytes; closing this closes `source` */
  constructor(source: BlockSource, size: number) {
    this.#source = source;
    this.size = size;
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    const inside = Math.min(length, Math.max(0, this.#source.size - offset));
    if (inside > 0) yield* this.#source.extents(offset, inside);
    if (length > inside) yield { offset: offset + inside, length: length - inside, kind: 'hole' };
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    await readPadded(this.#source, offset, into);
  }

  async locate(offset: number, length: number): Promise<readonly FilePiece[] | undefined> {
    checkRange(this.size, offset, length);
    return await locatePadded(this.#source, offset, length);
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}
