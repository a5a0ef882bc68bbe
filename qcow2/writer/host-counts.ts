/** Clusters that one page counts. */
const PAGE_CLUSTERS = 4096;
const SMALL_PAGE_MAX = 0xff;

/** Neighbouring host clusters with one refcount. */
export interface CountRun {
  readonly count: number;
  /** Clusters. */
  readonly length: number;
}

/**
 * Refcounts of the host clusters of a file in the making. A cluster counts 1 until it is said otherwise.
 *
 * Memory: a page takes none while all its clusters count 1, as in an image without compressed or shared clusters;
 * otherwise one byte for each cluster, or four in a page with a count above 255. So at most 16 MiB for each TiB of
 * compressed or shared data in clusters of 64 KiB.
 */
export class HostCounts {
  readonly #pages = new Map<number, Uint8Array | Uint32Array>();

  get(cluster: number): number {
    return this.#pages.get(Math.floor(cluster / PAGE_CLUSTERS))?.[cluster % PAGE_CLUSTERS] ?? 1;
  }

  set(cluster: number, count: number): void {
    const index = Math.floor(cluster / PAGE_CLUSTERS);
    let page = this.#pages.get(index);
    if (page === undefined) {
      page = new Uint8Array(PAGE_CLUSTERS).fill(1);
      this.#pages.set(index, page);
    }
    if (count > SMALL_PAGE_MAX && page instanceof Uint8Array) {
      page = Uint32Array.from(page);
      this.#pages.set(index, page);
    }
    page[cluster % PAGE_CLUSTERS] = count;
  }

  /** The counts of clusters `from` to `to` - 1, in order. */
  *runs(from: number, to: number): Generator<CountRun> {
    for (let at = from; at < to; ) {
      const index = Math.floor(at / PAGE_CLUSTERS);
      const page = this.#pages.get(index);
      const end = Math.min((index + 1) * PAGE_CLUSTERS, to);
      if (page === undefined) {
        yield { count: 1, length: end - at };
        at = end;
        continue;
      }
      while (at < end) {
        const count = page[at % PAGE_CLUSTERS]!;
        let next = at + 1;
        while (next < end && page[next % PAGE_CLUSTERS] === count) next++;
        yield { count, length: next - at };
        at = next;
      }
    }
  }
}
