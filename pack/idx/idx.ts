import { ImgstoreError } from '../../errors/index.ts';
import { ID_BYTES, type ObjectId } from '../../objects/index.ts';
import type { ByteView } from '../bytes.ts';
import { checksumFits } from '../checksum.ts';
import { IdTable } from '../id-table.ts';
import {
  CRC_BYTES,
  FAN_OUT_AT,
  IDS_AT,
  IDX_SIGNATURE,
  IDX_TRAILER_BYTES,
  IDX_VERSION,
  LARGE_OFFSET_BYTES,
  LARGE_OFFSET_FLAG,
  OFFSET_BYTES,
  ROW_BYTES,
} from './layout.ts';

/**
 * A pack index of version 2, read in place: a *position* is a row of its tables, by id ascending.
 *
 * The frame and the fan-out are validated once, here; checksums cost a read of the whole file and are left to {@link Idx.verify}.
 */
export class Idx {
  readonly ids: IdTable;
  /** Number of objects. */
  readonly count: number;
  readonly #view: ByteView;
  readonly #crcAt: number;
  readonly #offsetAt: number;
  readonly #largeAt: number;
  readonly #largeCount: number;

  /** @throws ImgstoreError `DAMAGED` naming the file, `UNSUPPORTED` for an index of another version. */
  constructor(view: ByteView) {
    this.#view = view;
    const head = view.bytes(0, IDS_AT);
    if (head.readUInt32BE(0) !== IDX_SIGNATURE) throw this.#damaged('does not begin with \\377tOc');
    const version = head.readUInt32BE(4);
    if (version !== IDX_VERSION) {
      throw new ImgstoreError('UNSUPPORTED', `${view.name}: is an index of version ${version}`, { version });
    }
    this.ids = new IdTable(view, {
      fanOutAt: FAN_OUT_AT,
      idsAt: IDS_AT,
      damaged: (reason) => this.#damaged(reason),
    });
    this.count = this.ids.count;
    this.#crcAt = IDS_AT + this.count * ID_BYTES;
    this.#offsetAt = this.#crcAt + this.count * CRC_BYTES;
    this.#largeAt = this.#offsetAt + this.count * OFFSET_BYTES;
    const largeBytes = view.size - IDS_AT - this.count * ROW_BYTES - IDX_TRAILER_BYTES;
    this.#largeCount = largeBytes / LARGE_OFFSET_BYTES;
    if (largeBytes < 0 || largeBytes % LARGE_OFFSET_BYTES !== 0 || this.#largeCount > this.count) {
      throw this.#damaged(`${view.size} bytes do not fit ${this.count} objects`);
    }
  }

  /** The position of an id, or undefined. */
  find(id: ObjectId): number | undefined {
    return this.ids.find(id);
  }

  /** The ids that begin with some hex digits. */
  idsWithPrefix(prefix: string): Generator<ObjectId> {
    return this.ids.withPrefix(prefix);
  }

  id(position: number): ObjectId {
    return this.ids.id(position);
  }

  /** CRC-32 of the entry as packed. */
  crc(position: number): number {
    return this.#view.bytes(this.#crcAt + position * CRC_BYTES, CRC_BYTES).readUInt32BE();
  }

  /** Where the entry begins in the pack. @throws ImgstoreError `DAMAGED` when it points out of its table or past 2^53. */
  offset(position: number): number {
    const small = this.#view.bytes(this.#offsetAt + position * OFFSET_BYTES, OFFSET_BYTES).readUInt32BE();
    if (small < LARGE_OFFSET_FLAG) return small;
    const row = small - LARGE_OFFSET_FLAG;
    if (row >= this.#largeCount)
      throw this.#damaged(`offset of object ${position} points to row ${row} of ${this.#largeCount}`);
    const large = this.#view
      .bytes(this.#largeAt + row * LARGE_OFFSET_BYTES, LARGE_OFFSET_BYTES)
      .readBigUInt64BE();
    if (large > BigInt(Number.MAX_SAFE_INTEGER))
      throw this.#damaged(`offset of object ${position} is ${large}`);
    return Number(large);
  }

  /** The checksum of the pack that this index is of. */
  packChecksum(): Buffer {
    return Buffer.from(this.#view.bytes(this.#view.size - IDX_TRAILER_BYTES, ID_BYTES));
  }

  /** Reads the whole file and checks its own checksum and the order of its ids. @throws ImgstoreError `DAMAGED`. */
  verify(): void {
    if (!checksumFits(this.#view)) throw this.#damaged('checksum does not fit its bytes');
    this.ids.verifyOrder();
  }

  #damaged(reason: string): ImgstoreError {
    return new ImgstoreError('DAMAGED', `${this.#view.name}: index is damaged: ${reason}`, {
      path: this.#view.name,
      reason,
    });
  }
}
