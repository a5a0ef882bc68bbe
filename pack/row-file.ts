import { ImgstoreError } from '../errors/index.ts';
import { codecs, ID_BYTES } from '../objects/index.ts';
import type { ByteView } from './bytes.ts';
import { checksumFits } from './checksum.ts';

/**
 * The frame of the files beside a pack that say one word of each object (git: gitformat-pack).
 *
 * ```text
 * 0   4      signature
 * 4   4      version 1
 * 8   4      hash function: 2 is SHA-256
 * 12  N × 4  rows
 *     32     checksum of the pack
 *     32     SHA-256 of everything before
 * ```
 */
const VERSION = 1;
const HASH_SHA256 = 2;
const ROWS_AT = 12;
const ROW_BYTES = 4;
const TRAILER_BYTES = 2 * ID_BYTES;
const SIGNATURE_BYTES = 4;

/** What tells one kind of these files from another. */
export interface RowFormat {
  /** Four letters. */
  readonly signature: string;
  /** How errors begin that tell of damage: `reverse index is damaged`. */
  readonly fault: string;
}

/** A whole file. @param rows unsigned words of 32 bits */
export function encodeRows({ signature }: RowFormat, rows: Uint32Array, packChecksum: Uint8Array): Buffer {
  const bytes = Buffer.alloc(ROWS_AT + rows.length * ROW_BYTES + TRAILER_BYTES);
  bytes.write(signature, 'latin1');
  bytes.writeUInt32BE(VERSION, 4);
  bytes.writeUInt32BE(HASH_SHA256, 8);
  rows.forEach((row, i) => {
    bytes.writeUInt32BE(row, ROWS_AT + i * ROW_BYTES);
  });
  bytes.set(packChecksum, bytes.length - TRAILER_BYTES);
  const body = bytes.subarray(0, bytes.length - ID_BYTES);
  bytes.set(codecs().hash.create().update(body).digest(), body.length);
  return bytes;
}

/** Such a file, read in place. */
export class RowFile {
  readonly count: number;
  readonly #view: ByteView;
  readonly #format: RowFormat;

  /**
   * @param count number of objects of the pack's index
   * @throws ImgstoreError `DAMAGED` when the file does not fit the index, `UNSUPPORTED` for another version or hash
   */
  constructor(format: RowFormat, view: ByteView, count: number, packChecksum: Uint8Array) {
    this.count = count;
    this.#view = view;
    this.#format = format;
    if (view.size !== ROWS_AT + count * ROW_BYTES + TRAILER_BYTES)
      throw this.damaged(`${view.size} bytes do not fit ${count} objects`);
    const head = Buffer.from(view.bytes(0, ROWS_AT));
    if (head.toString('latin1', 0, SIGNATURE_BYTES) !== format.signature)
      throw this.damaged(`does not begin with ${format.signature}`);
    if (head.readUInt32BE(4) !== VERSION || head.readUInt32BE(8) !== HASH_SHA256)
      throw new ImgstoreError('UNSUPPORTED', `${view.name}: is of another version or for another hash`);
    if (!view.bytes(view.size - TRAILER_BYTES, ID_BYTES).equals(packChecksum))
      throw this.damaged('is for another pack');
  }

  row(i: number): number {
    return this.#view.bytes(ROWS_AT + i * ROW_BYTES, ROW_BYTES).readUInt32BE();
  }

  /** Reads the whole file and checks its own checksum. @throws ImgstoreError `DAMAGED`. */
  verify(): void {
    if (!checksumFits(this.#view)) throw this.damaged('checksum does not fit its bytes');
  }

  damaged(reason: string): ImgstoreError {
    const { name } = this.#view;
    return new ImgstoreError('DAMAGED', `${name}: ${this.#format.fault}: ${reason}`, { path: name, reason });
  }
}
