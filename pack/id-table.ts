import type { ImgstoreError } from '../errors/index.ts';
import { ID_BYTES, ID_DIGITS, idFromBytes, idToBytes, type ObjectId } from '../objects/index.ts';
import type { ByteView } from './bytes.ts';
import { lowerBound } from './lower-bound.ts';

/** Rows of a fan-out table: one for each first byte of an id. */
export const FAN_OUT_ENTRIES = 256;
export const FAN_OUT_ENTRY_BYTES = 4;
export const FAN_OUT_BYTES = FAN_OUT_ENTRIES * FAN_OUT_ENTRY_BYTES;

/** As much of an id as a number holds, and how many of those begin with the same byte. */
const KEY_BYTES = 6;
const BUCKET_KEYS = 2 ** (8 * (KEY_BYTES - 1));

/** Looks for an id around where it should stand, before what is left is halved. */
const MOST_GUESSES = 4;

/** Rows on either side of there: of 4000 evenly spread ones 19 in 20 stand within. */
const WINDOW_ROWS = 64;

/** A fan-out table. @param inBucket how many ids begin with each byte */
export function encodeFanOut(inBucket: Uint32Array): Buffer {
  const fanOut = Buffer.alloc(FAN_OUT_BYTES);
  let upTo = 0;
  inBucket.forEach((count, i) => {
    upTo += count;
    fanOut.writeUInt32BE(upTo, i * FAN_OUT_ENTRY_BYTES);
  });
  return fanOut;
}

/** Where the two tables lie, and what to throw when they are not valid. */
export interface IdTableLayout {
  readonly fanOutAt: number;
  readonly idsAt: number;
  readonly damaged: (reason: string) => ImgstoreError;
}

/**
 * Ids in ascending order behind a fan-out table, read in place: what the indexes of one pack and of many have in common. A *position* is
 * a row of the table of ids; that the table lies within the file is for the caller to check, by {@link IdTable.count}.
 */
export class IdTable {
  /** Number of ids. */
  readonly count: number;
  readonly #view: ByteView;
  readonly #layout: IdTableLayout;
  readonly #fanOut: Uint32Array;

  /** @throws ImgstoreError `DAMAGED` when the fan-out falls */
  constructor(view: ByteView, layout: IdTableLayout) {
    this.#view = view;
    this.#layout = layout;
    const bytes = view.bytes(layout.fanOutAt, FAN_OUT_BYTES);
    this.#fanOut = Uint32Array.from({ length: FAN_OUT_ENTRIES }, (_, i) =>
      bytes.readUInt32BE(i * FAN_OUT_ENTRY_BYTES),
    );
    this.#fanOut.forEach((upTo, i) => {
      if (i > 0 && upTo < this.#fanOut[i - 1]!)
        throw layout.damaged(`fan-out falls at byte ${layout.fanOutAt + i * FAN_OUT_ENTRY_BYTES}`);
    });
    this.count = this.#fanOut[FAN_OUT_ENTRIES - 1]!;
  }

  /** The position of an id, or undefined. */
  find(id: ObjectId): number | undefined {
    const bytes = idToBytes(id);
    const position = this.#lowerBound(bytes);
    if (position === this.count || this.#idBytes(position).compare(bytes) !== 0) return undefined;
    return position;
  }

  /** The ids that begin with some hex digits. */
  *withPrefix(prefix: string): Generator<ObjectId> {
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

  /** The positions [from, to) of the ids that begin with a byte. */
  bucket(firstByte: number): { readonly from: number; readonly to: number } {
    return { from: firstByte === 0 ? 0 : this.#fanOut[firstByte - 1]!, to: this.#fanOut[firstByte]! };
  }

  /** The bytes of the ids at positions [from, to), valid until the next call. */
  bytes(from: number, to: number): Buffer {
    return this.#view.bytes(this.#layout.idsAt + from * ID_BYTES, (to - from) * ID_BYTES);
  }

  /** Reads all ids. @throws ImgstoreError `DAMAGED` when they do not ascend, or do not fit the fan-out. */
  verifyOrder(): void {
    for (let position = 0; position < this.count; position++) {
      const id = Buffer.from(this.#idBytes(position));
      const { from, to } = this.bucket(id[0]!);
      const ascends = position === 0 || this.#idBytes(position - 1).compare(id) < 0;
      if (position < from || position >= to || !ascends)
        throw this.#layout.damaged(`object ${position} is out of order`);
    }
  }

  /**
   * The first position whose id is not below `id`. Ids are spread evenly, so each is looked for among the rows around where it should stand (interpolation search), which mostly are one
   * read; where they are not spread so it is found by halving after all.
   */
  #lowerBound(id: Buffer): number {
    let { from, to } = this.bucket(id[0]!);
    const key = id.readUIntBE(0, KEY_BYTES);
    let fromKey = id[0]! * BUCKET_KEYS;
    let toKey = fromKey + BUCKET_KEYS;
    for (let guesses = 0; guesses < MOST_GUESSES && from < to && fromKey <= key && key < toKey; guesses++) {
      const guess = from + Math.floor(((key - fromKey) / (toKey - fromKey)) * (to - from));
      const first = Math.max(from, guess - WINDOW_ROWS);
      const end = Math.min(to, guess + WINDOW_ROWS);
      const rows = this.bytes(first, end);
      const last = rows.length - ID_BYTES;
      if (compareAt(rows, 0, key, id) > 0) [to, toKey] = [first, rows.readUIntBE(0, KEY_BYTES)];
      else if (compareAt(rows, last, key, id) < 0) [from, fromKey] = [end, rows.readUIntBE(last, KEY_BYTES)];
      else return first + lowerBound(0, end - first, (row) => compareAt(rows, row * ID_BYTES, key, id) < 0);
    }
    return lowerBound(from, to, (position) => compareAt(this.#idBytes(position), 0, key, id) < 0);
  }

  #idBytes(position: number): Buffer {
    return this.bytes(position, position + 1);
  }
}

/** Below 0 when the id at an offset comes before another, whose first bytes are `key`. */
function compareAt(rows: Buffer, at: number, key: number, id: Buffer): number {
  return rows.readUIntBE(at, KEY_BYTES) - key || rows.compare(id, 0, ID_BYTES, at, at + ID_BYTES);
}
