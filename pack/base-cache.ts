/** Bytes of delta bases kept per thread: 256 clusters, enough for the chains that a walk in map order meets again and again. */
const MOST_BYTES = 16 * 1024 * 1024;

/** Inflated delta bases by place, the least recently used given up first, bounded in bytes. */
export class BaseCache {
  readonly #bases = new Map<string, Uint8Array>();
  #bytes = 0;

  /** @param pack the number of an open pack, see `PackedStreams` */
  get(pack: number, offset: number): Uint8Array | undefined {
    const key = `${pack}:${offset}`;
    const base = this.#bases.get(key);
    if (base !== undefined) {
      this.#bases.delete(key);
      this.#bases.set(key, base);
    }
    return base;
  }

  put(pack: number, offset: number, base: Uint8Array): void {
    const key = `${pack}:${offset}`;
    if (this.#bases.has(key)) return;
    this.#bases.set(key, base);
    this.#bytes += base.length;
    for (const [oldest, data] of this.#bases) {
      if (this.#bytes <= MOST_BYTES) return;
      this.#bases.delete(oldest);
      this.#bytes -= data.length;
    }
  }
}
