import { ID_BYTES, idFromBytes, idToBytes, type ObjectId, type ObjectType } from '../../objects/index.ts';
import { EntryTable, lowerBound, type Pack, type PackOrder } from '../../pack/index.ts';

/** Bytes of an id that stand for it in sketches: enough to tell objects apart, and a number of them is exact. */
export const REF_BYTES = 6;

/** Numbers of types in {@link ObjectTable.type}, in the order in which they lie in a pack: what is walked first comes first. */
export const TYPES: readonly ObjectType[] = ['commit', 'tag', 'tree', 'blob'];

/** A pack that objects are taken from. */
export interface SourcePack {
  readonly pack: Pack;
  readonly order: PackOrder;
}

/** The objects that one run of packing gathers, by id, in flat arrays: some 80 bytes each. A *row* is a place in it. */
export class ObjectTable {
  readonly count: number;
  readonly sources: readonly SourcePack[];
  /** Place in {@link TYPES}. */
  readonly type: Uint8Array;
  /** Bytes of data. */
  readonly size: Float64Array;
  /** Place in {@link ObjectTable.sources}, or {@link LOOSE} or {@link ELSEWHERE}. */
  readonly source: Int16Array;
  /** Which entry of the source, in pack order. */
  readonly entry: Uint32Array;
  /** For a delta that is taken over: the position of its base in the source's index; −1 for what is packed anew. */
  readonly keptBase: Int32Array;
  readonly #ids: Buffer;

  /**
   * @param most number of objects, counting those that come several times
   * @param objects as they are found; of those with one id the first is kept
   */
  constructor(sources: readonly SourcePack[], most: number, objects: Iterable<GatheredObject>) {
    this.sources = sources;
    const ids = new EntryTable();
    const found = newColumns(most);
    let rows = 0;
    for (const { id, type, size, source, entry, keptBase } of objects) {
      ids.add(idToBytes(id), 0, 0);
      found.type[rows] = TYPES.indexOf(type);
      found.size[rows] = size;
      found.source[rows] = source;
      found.entry[rows] = entry;
      found.keptBase[rows] = keptBase;
      rows++;
    }
    const order = ids.byId();
    const unique = order.filter((row, i) => i === 0 || ids.id(row).compare(ids.id(order[i - 1]!)) !== 0);
    this.count = unique.length;
    this.type = Uint8Array.from(unique, (row) => found.type[row]!);
    this.size = Float64Array.from(unique, (row) => found.size[row]!);
    this.source = Int16Array.from(unique, (row) => found.source[row]!);
    this.entry = Uint32Array.from(unique, (row) => found.entry[row]!);
    this.keptBase = Int32Array.from(unique, (row) => found.keptBase[row]!);
    this.#ids = Buffer.alloc(this.count * ID_BYTES);
    unique.forEach((row, i) => {
      this.#ids.set(ids.id(row), i * ID_BYTES);
    });
  }

  id(row: number): ObjectId {
    return idFromBytes(this.#ids, row * ID_BYTES);
  }

  /** The row of an id, or undefined. */
  find(id: ObjectId): number | undefined {
    const bytes = idToBytes(id);
    const row = this.#lowerBound(bytes);
    return row < this.count && this.#id(row).equals(bytes) ? row : undefined;
  }

  /** The id of the base of a delta that is taken over. */
  keptBaseId(row: number): ObjectId {
    return this.sources[this.source[row]!]!.pack.idx.id(this.keptBase[row]!);
  }

  /** What stands for an object in sketches: the first {@link REF_BYTES} bytes of its id. */
  ref(row: number): number {
    return this.#ids.readUIntBE(row * ID_BYTES, REF_BYTES);
  }

  /** The row of the first id that begins with a ref, or undefined. */
  findRef(ref: number): number | undefined {
    const bytes = Buffer.alloc(ID_BYTES);
    bytes.writeUIntBE(ref, 0, REF_BYTES);
    const row = this.#lowerBound(bytes);
    return row < this.count && this.ref(row) === ref ? row : undefined;
  }

  #lowerBound(id: Buffer): number {
    return lowerBound(0, this.count, (row) => this.#id(row).compare(id) < 0);
  }

  #id(row: number): Buffer {
    return this.#ids.subarray(row * ID_BYTES, (row + 1) * ID_BYTES);
  }
}

/** {@link ObjectTable.source} of a loose object. */
export const LOOSE = -1;
/** {@link ObjectTable.source} of an object that is damaged where it was found, and is read from whatever whole copy there is. */
export const ELSEWHERE = -2;
/** {@link ObjectTable.keptBase} of an object that is packed anew. */
export const NO_BASE = -1;

/** An object as it is found; see the columns of {@link ObjectTable}. */
export interface GatheredObject {
  readonly id: ObjectId;
  readonly type: ObjectType;
  readonly size: number;
  readonly source: number;
  readonly entry: number;
  readonly keptBase: number;
}

function newColumns(count: number) {
  return {
    type: new Uint8Array(count),
    size: new Float64Array(count),
    source: new Int16Array(count),
    entry: new Uint32Array(count),
    keptBase: new Int32Array(count),
  };
}
