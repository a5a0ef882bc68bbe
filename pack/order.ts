import { lowerBound } from './lower-bound.ts';
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
    const entry = lowerBound(0, this.#offsets.length, (i) => this.#offsets[i]! < offset);
    return this.#offsets[entry] === offset ? entry : undefined;
  }
}
