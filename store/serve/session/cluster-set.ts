import type { ClusterRun } from '../../batches.ts';

/** Clusters of a page: 4 KiB of bits. */
const PAGE_CLUSTERS = 2 ** 15;
const WORD_BITS = 32;

/** A set of cluster numbers, kept as bits in pages that are made where there are any: at most a bit for each cluster of the disk, 2 MiB for a terabyte of clusters of 64 KiB. */
export class ClusterSet {
  readonly #pages = new Map<number, Uint32Array>();
  #size = 0;

  /** Clusters in it. */
  get size(): number {
    return this.#size;
  }

  has(cluster: number): boolean {
    const page = this.#pages.get(Math.floor(cluster / PAGE_CLUSTERS));
    if (page === undefined) return false;
    const at = cluster % PAGE_CLUSTERS;
    return (page[at >>> 5]! & (1 << (at & 31))) !== 0;
  }

  add(cluster: number): void {
    const page = this.#page(Math.floor(cluster / PAGE_CLUSTERS));
    const at = cluster % PAGE_CLUSTERS;
    const bit = 1 << (at & 31);
    if ((page[at >>> 5]! & bit) !== 0) return;
    page[at >>> 5]! |= bit;
    this.#size++;
  }

  delete(cluster: number): void {
    if (!this.has(cluster)) return;
    const at = cluster % PAGE_CLUSTERS;
    this.#page(Math.floor(cluster / PAGE_CLUSTERS))[at >>> 5]! &= ~(1 << (at & 31));
    this.#size--;
  }

  addAll(other: ClusterSet): void {
    for (const { first, count } of other.runs())
      for (let cluster = first; cluster < first + count; cluster++) this.add(cluster);
  }

  copy(): ClusterSet {
    const made = new ClusterSet();
    for (const [index, page] of this.#pages) made.#pages.set(index, page.slice());
    made.#size = this.#size;
    return made;
  }

  /** Runs of neighbours, ascending. The set must not change meanwhile. */
  *runs(): Generator<ClusterRun> {
    let first = -1;
    let end = -1;
    for (const cluster of this.#clusters()) {
      if (cluster === end) {
        end++;
        continue;
      }
      if (first >= 0) yield { first, count: end - first };
      first = cluster;
      end = cluster + 1;
    }
    if (first >= 0) yield { first, count: end - first };
  }

  *#clusters(): Generator<number> {
    for (const index of [...this.#pages.keys()].sort((a, b) => a - b)) {
      for (const [word, bits] of this.#pages.get(index)!.entries()) {
        if (bits === 0) continue;
        const base = index * PAGE_CLUSTERS + word * WORD_BITS;
        for (let bit = 0; bit < WORD_BITS; bit++) if ((bits & (1 << bit)) !== 0) yield base + bit;
      }
    }
  }

  #page(index: number): Uint32Array {
    let page = this.#pages.get(index);
    if (page === undefined) {
      page = new Uint32Array(PAGE_CLUSTERS / WORD_BITS);
      this.#pages.set(index, page);
    }
    return page;
  }
}
