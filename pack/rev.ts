import type { ByteView } from './bytes.ts';
import { encodeRows, RowFile, type RowFormat } from './row-file.ts';

/** A reverse index (git: gitformat-pack, "pack-*.rev files"): its rows are the positions in the index, by offset in the pack. */
const FORMAT: RowFormat = { signature: 'RIDX', fault: 'reverse index is damaged' };

/** The reverse index for positions that are already in pack order. */
export function encodeRev(positions: Uint32Array, packChecksum: Uint8Array): Buffer {
  return encodeRows(FORMAT, positions, packChecksum);
}

/** A reverse index read in place. */
export class Rev {
  readonly #file: RowFile;

  /**
   * @param count number of objects of the pack's index
   * @throws ImgstoreError `DAMAGED` when the file does not fit the index, `UNSUPPORTED` for another version or hash
   */
  constructor(view: ByteView, count: number, packChecksum: Uint8Array) {
    this.#file = new RowFile(FORMAT, view, count, packChecksum);
  }

  /** The index position of the i-th entry in the pack. @throws ImgstoreError `DAMAGED` when there is no such position. */
  position(i: number): number {
    const position = this.#file.row(i);
    const { count } = this.#file;
    if (position >= count) throw this.#file.damaged(`row ${i} is ${position} of ${count}`);
    return position;
  }

  /**
   * Reads the whole file and checks its checksum and every row.
   * @param positions of the index, in the order of the pack
   * @throws ImgstoreError `DAMAGED`
   */
  verify(positions: Uint32Array): void {
    this.#file.verify();
    const wrong = positions.findIndex((position, i) => this.position(i) !== position);
    if (wrong >= 0) throw this.#file.damaged(`row ${wrong} is not the entry that lies there`);
  }
}
