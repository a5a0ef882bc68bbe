import { ImgstoreError } from '../errors/index.ts';
import { codecs, ID_BYTES } from '../objects/index.ts';
import type { ByteView } from './bytes.ts';
import { checksumFits } from './checksum.ts';

/**
 * When the objects of a *cruft pack* were last used: nothing leads to them, and `gc` removes each when it is old enough (git: gitformat-pack, "pack-*.mtimes files").
 *
 * ```text
 * 0   4      'MTME'
 * 4   4      version 1
 * 8   4      hash function: 2 is SHA-256
 * 12  N × 4  seconds since 1970, in the order of the index
 *     32     checksum of the pack
 *     32     SHA-256 of everything before
 * ```
 */
const SIGNATURE = 0x4d544d45;
const VERSION = 1;
const HASH_SHA256 = 2;
const ROWS_AT = 12;
const ROW_BYTES = 4;
const TRAILER_BYTES = 2 * ID_BYTES;
const MOST_SECONDS = 0xffffffff;

/** @param seconds since 1970, for each position of the index; what does not fit the format becomes the nearest that does */
export function encodeMtimes(seconds: readonly number[], packChecksum: Uint8Array): Buffer {
  const bytes = Buffer.alloc(ROWS_AT + seconds.length * ROW_BYTES + TRAILER_BYTES);
  bytes.writeUInt32BE(SIGNATURE, 0);
  bytes.writeUInt32BE(VERSION, 4);
  bytes.writeUInt32BE(HASH_SHA256, 8);
  seconds.forEach((second, position) => {
    const value = Math.min(MOST_SECONDS, Math.max(0, Math.ceil(second)));
    bytes.writeUInt32BE(value, ROWS_AT + position * ROW_BYTES);
  });
  bytes.set(packChecksum, bytes.length - TRAILER_BYTES);
  const body = bytes.subarray(0, bytes.length - ID_BYTES);
  bytes.set(codecs().hash.create().update(body).digest(), body.length);
  return bytes;
}

/** The times of a cruft pack, read in place. */
export class Mtimes {
  readonly #view: ByteView;
  readonly #count: number;

  /**
   * @param count number of objects of the pack's index
   * @throws ImgstoreError `DAMAGED` when the file does not fit the index, `UNSUPPORTED` for another version or hash
   */
  constructor(view: ByteView, count: number, packChecksum: Uint8Array) {
    this.#view = view;
    this.#count = count;
    if (view.size !== ROWS_AT + count * ROW_BYTES + TRAILER_BYTES)
      throw this.#damaged(`${view.size} bytes do not fit ${count} objects`);
    const head = Buffer.from(view.bytes(0, ROWS_AT));
    if (head.readUInt32BE(0) !== SIGNATURE) throw this.#damaged('does not begin with MTME');
    if (head.readUInt32BE(4) !== VERSION || head.readUInt32BE(8) !== HASH_SHA256)
      throw new ImgstoreError('UNSUPPORTED', `${view.name}: is of another version or for another hash`);
    if (!view.bytes(view.size - TRAILER_BYTES, ID_BYTES).equals(packChecksum))
      throw this.#damaged('is for another pack');
  }

  /** Seconds since 1970. @param position in the index */
  seconds(position: number): number {
    if (position >= this.#count) throw new RangeError(`position ${position} of ${this.#count}`);
    return this.#view.bytes(ROWS_AT + position * ROW_BYTES, ROW_BYTES).readUInt32BE();
  }

  /** Reads the whole file and checks its own checksum. @throws ImgstoreError `DAMAGED`. */
  verify(): void {
    if (!checksumFits(this.#view)) throw this.#damaged('checksum does not fit its bytes');
  }

  #damaged(reason: string): ImgstoreError {
    return new ImgstoreError('DAMAGED', `${this.#view.name}: times of objects are damaged: ${reason}`, {
      path: this.#view.name,
      reason,
    });
  }
}
