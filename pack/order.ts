import type { Pack } from './pack.ts';

/** A pack's entries in the order in which they lie in it. Memory: 12 bytes an entry. */
export class PackOrder {
  /** Index positions by place in the pack. */
  readonly positions: Uint32Array;
  readonly #offsets: Float64Array;
  readonly #end: number;

  constructor({ idx, entriesEnd }: Pack) {
    const offsets = Float64Array.from({ length: idx.count }, (_, position) => idx.offset(position));
    this.positions = Uint32Array.from(offsets, (_, position) => position);
    this.positions.sort((a, b) => offsets[a]! - offsets[b]!);
    this.#offsets = Float64Array.from(this.positions, (position) => offsets[position]!);
    this.#end = entriesEnd;
  }

  /** Byte at which the i-th entry begins. */
  offset(i: number): number {
    return this.#offsets[i]!;
  }

  /** Byte behind the i-th entry. */
  end(i: number): number {
    return i + 1 < this.#offsets.length ? this.#offsets[i + 1]! : this.#end;
  }

  /** Which entry begins at a byte, or undefined. */
  at(offset: number): number | undefined {
    let low = 0;
    let high = this.#offsets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#offsets[middle]! < offset) low = middle + 1;
      else high = middle;
    }
    return this.#offsets[low] === offset ? low : undefined;
  }
}
