import type { GitObject } from '../objects/index.ts';

/** Bytes of delta bases kept per pack: enough for the chains that a walk in map order meets again and again. */
const MOST_BYTES = 16 * 1024 * 1024;

/** Inflated delta bases by their place in the pack, the least recently used given up first, bounded in bytes. */
export class BaseCache {
  readonly #bases = new Map<number, GitObject>();
  #bytes = 0;

  get(offset: number): GitObject | undefined {
    const base = this.#bases.get(offset);
    if (base !== undefined) {
      this.#bases.delete(offset);
      this.#bases.set(offset, base);
    }
    return base;
  }

  put(offset: number, base: GitObject): void {
    if (this.#bases.has(offset)) return;
    this.#bases.set(offset, base);
    this.#bytes += base.data.length;
    for (const [oldest, { data }] of this.#bases) {
      if (this.#bytes <= MOST_BYTES) return;
      this.#bases.delete(oldest);
      this.#bytes -= data.length;
    }
  }
}
