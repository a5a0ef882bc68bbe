import { ID_BYTES } from '../objects/index.ts';

/** Rows of room to begin with; it doubles as needed. */
const FIRST_ROWS = 1024;

/**
 * What a pack's writer keeps of each entry until the index is made: id, CRC-32 and offset, in flat arrays (44 bytes an
 * object, where an object of JavaScript each would take 200).
 */
export class EntryTable {
  #ids = Buffer.alloc(FIRST_ROWS * ID_BYTES);
  #crcs = new Uint32Array(FIRST_ROWS);
  #offsets = new Float64Array(FIRST_ROWS);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(id: Uint8Array, crc: number, offset: number): void {
    if (this.#count === this.#crcs.length) this.#grow();
    this.#ids.set(id, this.#count * ID_BYTES);
    this.#crcs[this.#count] = crc;
    this.#offsets[this.#count] = offset;
    this.#count++;
  }

  /** The 32 bytes of a row's id. */
  id(row: number): Buffer {
    return this.#ids.subarray(row * ID_BYTES, (row + 1) * ID_BYTES);
  }

  crc(row: number): number {
    return this.#crcs[row]!;
  }

  offset(row: number): number {
    return this.#offsets[row]!;
  }

  /** The rows by id, ascending. */
  byId(): Uint32Array {
    // Six bytes of an id fit a double exactly, and tell nearly all ids apart without a call into Buffer.compare.
    const keys = Float64Array.from({ length: this.#count }, (_, row) =>
      this.#ids.readUIntBE(row * ID_BYTES, 6),
    );
    const rows = Uint32Array.from(keys, (_, row) => row);
    return rows.sort((a, b) => keys[a]! - keys[b]! || this.id(a).compare(this.id(b)));
  }

  #grow(): void {
    const rows = 2 * this.#crcs.length;
    const ids = Buffer.alloc(rows * ID_BYTES);
    ids.set(this.#ids);
    this.#ids = ids;
    const crcs = new Uint32Array(rows);
    crcs.set(this.#crcs);
    this.#crcs = crcs;
    const offsets = new Float64Array(rows);
    offsets.set(this.#offsets);
    this.#offsets = offsets;
  }
}
