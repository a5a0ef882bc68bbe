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

  put(pack: number, offset: number, base: Uint8Array): void {
    const key = keyOf(pack, offset);
    const { length } = base;
    if (this.#places.has(key) || length > SLAB_BYTES) return;
    this.#slab ??= Buffer.allocUnsafeSlow(SLAB_BYTES);
    if (this.#next + length > SLAB_BYTES) {
      this.#giveUp(this.#next, SLAB_BYTES);
      this.#next = 0;
    }
    this.#giveUp(this.#next, this.#next + length);
    this.#slab.set(base, this.#next);
    this.#places.set(key, { from: this.#next, length });
    this.#next += length;
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
