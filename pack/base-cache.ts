/** Bytes of delta bases kept per thread: 256 clusters, enough for the chains that a walk in map order meets again and again. */
const SLAB_BYTES = 16 * 1024 * 1024;

/** Where a base lies in the slab. */
interface Place {
  readonly from: number;
  readonly length: number;
}

/**
 * Inflated delta bases by place in their packs, the oldest given up first, in one slab of fixed size. Bases are copied into it: as buffers of their
 * own, which live long and die at once, they made the garbage collector run so often that a checkout took a sixth longer.
 */
export class BaseCache {
  /** In the order in which they were put, which is their order in the slab, seen from {@link BaseCache.#next} on. */
  readonly #places = new Map<string, Place>();
  #slab: Buffer | undefined;
  #next = 0;

  /**
   * The base, valid until the next {@link BaseCache.put}.
   * @param pack the number of an open pack, see `PackedStreams`
   */
  get(pack: number, offset: number): Uint8Array | undefined {
    const place = this.#places.get(keyOf(pack, offset));
    return place && this.#slab!.subarray(place.from, place.from + place.length);
  }

  /**
   * Keeps a base that `fill` makes, where it is made. Nothing is kept when `fill` fails.
   * @param length of the base, in bytes
   * @param reading bytes that `fill` reads: they stay as they are
   * @param fill writes to the memory that it is given, and returns it; where there is no room for the base it is given none, and returns memory of its own
   * @returns the base, valid as that of {@link BaseCache.get}
   */
  put(
    pack: number,
    offset: number,
    length: number,
    fill: (into: Uint8Array | undefined) => Uint8Array,
    reading?: Uint8Array,
  ): Uint8Array {
    const known = this.get(pack, offset);
    if (known !== undefined) return known;
    if (length > SLAB_BYTES) return fill(undefined);
    this.#slab ??= Buffer.allocUnsafeSlow(SLAB_BYTES);
    const from = this.#next + length > SLAB_BYTES ? 0 : this.#next;
    const room = this.#slab.subarray(from, from + length);
    if (reading !== undefined && overlap(room, reading)) return fill(undefined);
    if (from < this.#next) this.#giveUp(this.#next, SLAB_BYTES);
    this.#next = from;
    this.#giveUp(from, from + length);
    fill(room);
    this.#places.set(keyOf(pack, offset), { from, length });
    this.#next += length;
    return room;
  }

  /** Forgets the oldest bases as long as they begin in [from, to). */
  #giveUp(from: number, to: number): void {
    for (const [key, place] of this.#places) {
      if (place.from < from || place.from >= to) return;
      this.#places.delete(key);
    }
  }
}

function keyOf(pack: number, offset: number): string {
  return `${pack}:${offset}`;
}

function overlap(a: Uint8Array, b: Uint8Array): boolean {
  const isApart = a.byteOffset + a.length <= b.byteOffset || b.byteOffset + b.length <= a.byteOffset;
  return a.buffer === b.buffer && !isApart;
}
