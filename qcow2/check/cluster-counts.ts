/** Clusters of one page. */
export const PAGE_CLUSTERS = 1024;
/** What a page costs beside its counts, for the limit. */
const PAGE_OVERHEAD_BYTES = 256;

type Page = Uint8Array | Uint16Array | Float64Array;

/**
 * A count for each host cluster, held in pages that exist where something was counted: memory follows what a file
 * refers to, never what it claims. A page's counts take one byte each until one of them needs more.
 */
export class ClusterCounts {
  readonly #pages = new Map<number, Page>();
  readonly #maxBytes: number;
  readonly #onFull: () => Error;
  #bytes = 0;
  #lastKey = -1;
  #lastPage: Page | undefined;

  /** @param maxBytes the most that the pages may take. @param onFull the error when they would take more. */
  constructor(maxBytes: number, onFull: () => Error) {
    this.#maxBytes = maxBytes;
    this.#onFull = onFull;
  }

  get(cluster: number): number {
    return this.#page(Math.floor(cluster / PAGE_CLUSTERS))?.[cluster % PAGE_CLUSTERS] ?? 0;
  }

  /** Adds `amount` to a count. @throws what `onFull` makes when there is no room. */
  add(cluster: number, amount: number): void {
    this.set(cluster, this.get(cluster) + amount);
  }

  /** @throws what `onFull` makes when there is no room. */
  set(cluster: number, count: number): void {
    const key = Math.floor(cluster / PAGE_CLUSTERS);
    let page = this.#page(key);
    if (page === undefined) {
      if (count === 0) return;
      page = this.#put(key, new Uint8Array(PAGE_CLUSTERS), PAGE_OVERHEAD_BYTES);
    }
    if (count > 0xff && page instanceof Uint8Array) {
      page = this.#put(key, Uint16Array.from(page), -page.byteLength);
    }
    if (count > 0xffff && page instanceof Uint16Array) {
      page = this.#put(key, Float64Array.from(page), -page.byteLength);
    }
    page[cluster % PAGE_CLUSTERS] = count;
  }

  /** Numbers of the pages that exist, ascending. Page n begins at cluster n * {@link PAGE_CLUSTERS}. */
  pages(): Float64Array {
    return Float64Array.from(this.#pages.keys()).sort();
  }

  hasPage(key: number): boolean {
    return this.#page(key) !== undefined;
  }

  /** Clusters with a count, ascending. */
  *clusters(): Iterable<number> {
    for (const key of this.pages()) {
      const page = this.#pages.get(key)!;
      for (let i = 0; i < PAGE_CLUSTERS; i++) if (page[i] !== 0) yield key * PAGE_CLUSTERS + i;
    }
  }

  #page(key: number): Page | undefined {
    if (key !== this.#lastKey) {
      this.#lastKey = key;
      this.#lastPage = this.#pages.get(key);
    }
    return this.#lastPage;
  }

  #put(key: number, page: Page, extraBytes: number): Page {
    this.#bytes += page.byteLength + extraBytes;
    if (this.#bytes > this.#maxBytes) throw this.#onFull();
    this.#pages.set(key, page);
    this.#lastKey = key;
    this.#lastPage = page;
    return page;
  }
}
