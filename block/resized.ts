import { type FilePiece, zeroPiece } from './file-piece.ts';
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
    const inside = this.#inside(offset, length);
    if (inside > 0) yield* this.#source.extents(offset, inside);
    if (length > inside) yield { offset: offset + inside, length: length - inside, kind: 'hole' };
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    const inside = this.#inside(offset, into.length);
    if (inside > 0) await this.#source.read(offset, into.subarray(0, inside));
    into.fill(0, inside);
  }

  async locate(offset: number, length: number): Promise<readonly FilePiece[] | undefined> {
    checkRange(this.size, offset, length);
    const inside = this.#inside(offset, length);
    const pieces = inside === 0 ? [] : await this.#source.locate?.(offset, inside);
    return inside === length ? pieces : pieces?.concat(zeroPiece(length - inside));
  }

  close(): Promise<void> {
    return this.#source.close();
  }

  /** How many bytes of a range the disk below has. */
  #inside(offset: number, length: number): number {
    return Math.min(length, Math.max(0, this.#source.size - offset));
  }
}
