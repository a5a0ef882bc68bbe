import { ImgstoreError } from '../../errors/index.ts';
import { codecs, ID_BYTES, ID_DIGITS, idFromBytes, idToBytes, type ObjectId } from '../../objects/index.ts';
import type { ByteView } from '../bytes.ts';
import {
  CRC_BYTES,
  FAN_OUT_AT,
  FAN_OUT_ENTRIES,
  IDS_AT,
  IDX_SIGNATURE,
  IDX_TRAILER_BYTES,
  IDX_VERSION,
  LARGE_OFFSET_BYTES,
  LARGE_OFFSET_FLAG,
  OFFSET_BYTES,
  ROW_BYTES,
} from './layout.ts';

/** Bytes that are hashed at a time when the checksum is verified. */
const VERIFY_CHUNK = 1 << 20;

/**
 * A pack index of version 2, read in place: a *position* is a row of its tables, by id ascending.
 *
 * The frame and the fan-out are validated once, here; checksums cost a read of the whole file and are left to {@link Idx.verify}.
 */
export class Idx {
  /** Number of objects. */
  readonly count: number;
  readonly #view: ByteView;
  readonly #fanOut: Uint32Array;
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
    this.#fanOut = Uint32Array.from({ length: FAN_OUT_ENTRIES }, (_, i) =>
      head.readUInt32BE(FAN_OUT_AT + i * 4),
    );
    this.#fanOut.forEach((upTo, i) => {
      if (i > 0 && upTo < this.#fanOut[i - 1]!)
        throw this.#damaged(`fan-out falls at byte ${FAN_OUT_AT + i * 4}`);
    });
    this.count = this.#fanOut[FAN_OUT_ENTRIES - 1]!;
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
    const bytes = idToBytes(id);
    const position = this.#lowerBound(bytes);
    if (position === this.count || this.#idBytes(position).compare(bytes) !== 0) return undefined;
    return position;
  }

  /** The ids that begin with some hex digits. */
  *idsWithPrefix(prefix: string): Generator<ObjectId> {
    const from = this.#lowerBound(idToBytes(prefix.padEnd(ID_DIGITS, '0')));
    for (let position = from; position < this.count; position++) {
      const id = this.id(position);
      if (!id.startsWith(prefix)) return;
      yield id;
    }
  }

  id(position: number): ObjectId {
    return idFromBytes(this.#idBytes(position));
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
    const hash = codecs().hash.create();
    const end = this.#view.size - ID_BYTES;
    for (let at = 0; at < end; at += VERIFY_CHUNK)
      hash.update(this.#view.bytes(at, Math.min(VERIFY_CHUNK, end - at)));
    if (!this.#view.bytes(end, ID_BYTES).equals(hash.digest()))
      throw this.#damaged('checksum does not fit its bytes');
    for (let position = 0; position < this.count; position++) {
      const id = Buffer.from(this.#idBytes(position));
      const bucket = id[0]!;
      const inBucket =
        position < this.#fanOut[bucket]! && (bucket === 0 || position >= this.#fanOut[bucket - 1]!);
      const ascends = position === 0 || this.#idBytes(position - 1).compare(id) < 0;
      if (!inBucket || !ascends) throw this.#damaged(`object ${position} is out of order`);
    }
  }

  /** The first position whose id is not below `id`. */
  #lowerBound(id: Buffer): number {
    const bucket = id[0]!;
    let low = bucket === 0 ? 0 : this.#fanOut[bucket - 1]!;
    let high = this.#fanOut[bucket]!;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#idBytes(middle).compare(id) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #idBytes(position: number): Buffer {
    return this.#view.bytes(IDS_AT + position * ID_BYTES, ID_BYTES);
  }

  #damaged(reason: string): ImgstoreError {
    return new ImgstoreError('DAMAGED', `${this.#view.name}: index is damaged: ${reason}`, {
      path: this.#view.name,
      reason,
    });
  }
}
