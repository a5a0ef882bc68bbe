import { ID_BYTES } from '../../objects/index.ts';
import { FAN_OUT_ENTRIES } from '../id-table.ts';
import type { Idx } from '../idx/idx.ts';

/** A pack that goes into a multi-pack-index. */
export interface MidxSource {
  /** `pack-….idx` */
  readonly name: string;
  readonly idx: Idx;
  /** When the pack was written last: seconds since 1970, as git compares them. */
  readonly mtime: number;
}

/** Bytes behind the first of an id that are compared as one number, which a double holds exactly. */
const KEY_BYTES = 6;

/**
 * The objects of several packs, each once, by id ascending: 16 bytes an object, and the ids are read from the indexes again when they are
 * written. Of an object in several packs the place in the newest is taken, as git does; of packs of the same second, the first by name.
 */
export class MergedIndexes {
  /** By name. */
  readonly names: readonly string[];
  readonly count: number;
  /** How many objects begin with each byte. */
  readonly inBucket = new Uint32Array(FAN_OUT_ENTRIES);
  /** Which of {@link MergedIndexes.names} has an object. */
  readonly pack: Uint32Array;
  /** Where it is in the pack. */
  readonly offset: Float64Array;
  /** Which row of its bucket it is. */
  readonly #row: Uint32Array;
  /** Those whose places are preferred first. */
  readonly #sources: readonly NumberedSource[];

  constructor(sources: readonly MidxSource[]) {
    const byName = sources
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map((source, number) => ({ ...source, number }));
    this.names = byName.map(({ name }) => name);
    this.#sources = byName.toSorted((a, b) => b.mtime - a.mtime);
    const most = sources.reduce((sum, { idx }) => sum + idx.count, 0);
    this.pack = new Uint32Array(most);
    this.offset = new Float64Array(most);
    this.#row = new Uint32Array(most);
    let count = 0;
    for (let byte = 0; byte < FAN_OUT_ENTRIES; byte++) {
      const objects = this.#merge(new Bucket(this.#sources, byte), count);
      this.inBucket[byte] = objects;
      count += objects;
    }
    this.count = count;
  }

  /** The ids that begin with a byte, ascending. */
  ids(firstByte: number): Buffer {
    const first = this.inBucket.subarray(0, firstByte).reduce((sum, objects) => sum + objects, 0);
    const bucket = new Bucket(this.#sources, firstByte);
    const ids = Buffer.allocUnsafe(this.inBucket[firstByte]! * ID_BYTES);
    for (let i = 0; i < this.inBucket[firstByte]!; i++)
      ids.set(bucket.id(this.#row[first + i]!), i * ID_BYTES);
    return ids;
  }

  /** Takes in the objects of a bucket, from the `first` on. Returns how many there are. */
  #merge(bucket: Bucket, first: number): number {
    let count = 0;
    let last: number | undefined;
    for (const row of bucket.ascending()) {
      if (last !== undefined && bucket.id(last).equals(bucket.id(row))) continue;
      const { idx, number } = bucket.source(row);
      this.pack[first + count] = number;
      this.offset[first + count] = idx.offset(bucket.position(row));
      this.#row[first + count] = row;
      last = row;
      count++;
    }
    return count;
  }
}

interface NumberedSource extends MidxSource {
  readonly number: number;
}

/** The ids of all sources that begin with one byte; a *row* is a place in it, in the order of the sources. */
class Bucket {
  readonly #sources: readonly NumberedSource[];
  readonly #ids: Buffer;
  readonly #source: Uint32Array;
  readonly #position: Uint32Array;

  constructor(sources: readonly NumberedSource[], firstByte: number) {
    const parts = sources.map(({ idx }) => idx.ids.bucket(firstByte));
    const count = parts.reduce((sum, { from, to }) => sum + to - from, 0);
    this.#sources = sources;
    this.#ids = Buffer.allocUnsafe(count * ID_BYTES);
    this.#source = new Uint32Array(count);
    this.#position = new Uint32Array(count);
    let row = 0;
    for (const [source, { from, to }] of parts.entries()) {
      if (from === to) continue;
      this.#ids.set(sources[source]!.idx.ids.bytes(from, to), row * ID_BYTES);
      this.#source.fill(source, row, row + to - from);
      for (let position = from; position < to; position++) this.#position[row++] = position;
    }
  }

  id(row: number): Buffer {
    return this.#ids.subarray(row * ID_BYTES, (row + 1) * ID_BYTES);
  }

  source(row: number): NumberedSource {
    return this.#sources[this.#source[row]!]!;
  }

  position(row: number): number {
    return this.#position[row]!;
  }

  /** Rows by id; of one id, in the order of the sources. */
  ascending(): Uint32Array {
    const keys = Float64Array.from(this.#source, (_, row) =>
      this.#ids.readUIntBE(row * ID_BYTES + 1, KEY_BYTES),
    );
    const rows = Uint32Array.from(keys, (_, row) => row);
    return rows.sort((a, b) => keys[a]! - keys[b]! || this.id(a).compare(this.id(b)) || a - b);
  }
}
