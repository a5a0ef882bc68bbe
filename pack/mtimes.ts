import type { ByteView } from './bytes.ts';
import { encodeRows, RowFile, type RowFormat } from './row-file.ts';

/**
 * When the objects of a *cruft pack* were last used: nothing leads to them, and `gc` removes each when it is old enough (git: gitformat-pack, "pack-*.mtimes files"). Its rows are
 * seconds since 1970, in the order of the index.
 */
const FORMAT: RowFormat = { signature: 'MTME', fault: 'times of objects are damaged' };

const MOST_SECONDS = 0xffffffff;

/** @param seconds since 1970, for each position of the index; what does not fit the format becomes the nearest that does */
export function encodeMtimes(seconds: readonly number[], packChecksum: Uint8Array): Buffer {
  const rows = Uint32Array.from(seconds, (second) => Math.min(MOST_SECONDS, Math.max(0, Math.ceil(second))));
  return encodeRows(FORMAT, rows, packChecksum);
}

/** The times of a cruft pack, read in place. */
export class Mtimes {
  readonly #file: RowFile;

  /**
   * @param count number of objects of the pack's index
   * @throws ImgstoreError `DAMAGED` when the file does not fit the index, `UNSUPPORTED` for another version or hash
   */
  constructor(view: ByteView, count: number, packChecksum: Uint8Array) {
    this.#file = new RowFile(FORMAT, view, count, packChecksum);
  }

  /** Seconds since 1970. @param position in the index */
  seconds(position: number): number {
    if (position >= this.#file.count) throw new RangeError(`position ${position} of ${this.#file.count}`);
    return this.#file.row(position);
  }

  /** Reads the whole file and checks its own checksum. @throws ImgstoreError `DAMAGED`. */
  verify(): void {
    this.#file.verify();
  }
}
