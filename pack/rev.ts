import { ImgstoreError } from '../errors/index.ts';
import { codecs, ID_BYTES } from '../objects/index.ts';
import type { ByteView } from './bytes.ts';
import { checksumFits } from './checksum.ts';

/**
 * A reverse index (git: gitformat-pack, "pack-*.rev files"): the positions of the index in the order of the pack.
 *
 * ```text
 * 0   4      'RIDX'
 * 4   4      version 1
 * 8   4      hash function: 2 is SHA-256
 * 12  N × 4  positions in the index, by offset in the pack
 *     32     checksum of the pack
 *     32     SHA-256 of everything before
 * ```
 */
const SIGNATURE = 0x52494458;
const VERSION = 1;
const HASH_SHA256 = 2;
const ROWS_AT = 12;
const ROW_BYTES = 4;
const TRAILER_BYTES = 2 * ID_BYTES;

/** The reverse index for positions that are already in pack order. */
export function encodeRev(positions: Uint32Array, packChecksum: Uint8Array): Buffer {
  const rev = Buffer.alloc(ROWS_AT + positions.length * ROW_BYTES + TRAILER_BYTES);
  rev.writeUInt32BE(SIGNATURE, 0);
  rev.writeUInt32BE(VERSION, 4);
  rev.writeUInt32BE(HASH_SHA256, 8);
  positions.forEach((position, i) => {
    rev.writeUInt32BE(position, ROWS_AT + i * ROW_BYTES);
  });
  rev.set(packChecksum, rev.length - TRAILER_BYTES);
  const body = rev.subarray(0, rev.length - ID_BYTES);
  rev.set(codecs().hash.create().update(body).digest(), body.length);
  return rev;
}

/** A reverse index read in place. */
export class Rev {
  readonly #view: ByteView;
  readonly #count: number;

  /**
   * @param count number of objects of the pack's index
   * @throws ImgstoreError `DAMAGED` when the file does not fit the index, `UNSUPPORTED` for another version or hash
   */
  constructor(view: ByteView, count: number, packChecksum: Uint8Array) {
    this.#view = view;
    this.#count = count;
    if (view.size !== ROWS_AT + count * ROW_BYTES + TRAILER_BYTES) {
      throw this.#damaged(`${view.size} bytes do not fit ${count} objects`);
    }
    const head = Buffer.from(view.bytes(0, ROWS_AT));
    if (head.readUInt32BE(0) !== SIGNATURE) throw this.#damaged('does not begin with RIDX');
    if (head.readUInt32BE(4) !== VERSION || head.readUInt32BE(8) !== HASH_SHA256) {
      throw new ImgstoreError('UNSUPPORTED', `${view.name}: is of another version or for another hash`);
    }
    if (!view.bytes(view.size - TRAILER_BYTES, ID_BYTES).equals(packChecksum))
      throw this.#damaged('is for another pack');
  }

  /** The index position of the i-th entry in the pack. @throws ImgstoreError `DAMAGED` when there is no such position. */
  position(i: number): number {
    const position = this.#view.bytes(ROWS_AT + i * ROW_BYTES, ROW_BYTES).readUInt32BE();
    if (position >= this.#count) throw this.#damaged(`row ${i} is ${position} of ${this.#count}`);
    return position;
  }

  /**
   * Reads the whole file and checks its checksum and every row.
   * @param positions of the index, in the order of the pack
   * @throws ImgstoreError `DAMAGED`
   */
  verify(positions: Uint32Array): void {
    if (!checksumFits(this.#view)) throw this.#damaged('checksum does not fit its bytes');
    const wrong = positions.findIndex((position, i) => this.position(i) !== position);
    if (wrong >= 0) throw this.#damaged(`row ${wrong} is not the entry that lies there`);
  }

  #damaged(reason: string): ImgstoreError {
    return new ImgstoreError('DAMAGED', `${this.#view.name}: reverse index is damaged: ${reason}`, {
      path: this.#view.name,
      reason,
    });
  }
}
