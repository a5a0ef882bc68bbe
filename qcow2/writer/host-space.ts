import { MAX_REFCOUNT_TABLE_BYTES, TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import { maxRefcount, refcountsPerBlock } from '../meta/refcount-block.ts';
import { type CountRun, HostCounts } from './host-counts.ts';
import { usage } from './usage.ts';

/** Counts are kept in 32 bits, whatever the image has. */
const MOST_COUNTED = 2 ** 32 - 1;

/** The host file's clusters: handed out one after the other, each with its refcount. Offsets are bytes. */
export class HostSpace {
  readonly clusterSize: number;
  readonly refcountOrder: number;
  /** The largest refcount that the image can have. */
  readonly maxCount: number;
  readonly #counts = new HostCounts();
  readonly #mostClusters: number;
  /** Handed out; the header has the first. */
  #clusters = 1;

  constructor(clusterSize: number, refcountOrder: number) {
    this.clusterSize = clusterSize;
    this.refcountOrder = refcountOrder;
    this.maxCount = Math.min(maxRefcount(refcountOrder), MOST_COUNTED);
    const blocks = MAX_REFCOUNT_TABLE_BYTES / TABLE_ENTRY_BYTES;
    const perBlock = refcountsPerBlock(refcountOrder, clusterSize);
    // A full table and its blocks count themselves too.
    this.#mostClusters = blocks * perBlock - blocks - Math.ceil(MAX_REFCOUNT_TABLE_BYTES / clusterSize);
  }

  /** Clusters handed out so far. */
  get clusters(): number {
    return this.#clusters;
  }

  /** Where the next cluster will be. */
  get end(): number {
    return this.#clusters * this.clusterSize;
  }

  /**
   * Hands out `count` clusters that are used once.
   * @throws ImgstoreError `USAGE` when the file grows beyond what its refcounts can count.
   */
  take(count: number): number {
    const offset = this.end;
    if (this.#clusters + count > this.#mostClusters) {
      throw usage(`the image grows beyond what refcounts of ${this.clusterSize} byte clusters can count`);
    }
    this.#clusters += count;
    return offset;
  }

  /** Hands out clusters that are not used until {@link HostSpace.use} says so. @throws ImgstoreError `USAGE`. */
  reserve(count: number): number {
    const offset = this.take(count);
    const first = offset / this.clusterSize;
    for (let cluster = first; cluster < first + count; cluster++) this.#counts.set(cluster, 0);
    return offset;
  }

  /** Takes back what lies at the end of the file from `offset` on, a multiple of the cluster size. */
  giveBack(offset: number): void {
    const first = offset / this.clusterSize;
    for (let cluster = first; cluster < this.#clusters; cluster++) this.#counts.set(cluster, 1);
    this.#clusters = first;
  }

  /** How often the cluster of an offset is used. */
  uses(offset: number): number {
    return this.#counts.get(Math.floor(offset / this.clusterSize));
  }

  /**
   * Counts one more use of every cluster that the range touches.
   * @throws ImgstoreError `USAGE` when the range was never handed out, or is used as often as can be counted.
   */
  use(offset: number, length: number): void {
    const first = Math.floor(offset / this.clusterSize);
    const end = Math.ceil((offset + length) / this.clusterSize);
    if (!Number.isSafeInteger(offset) || first < 1 || length < 1 || end > this.#clusters) {
      throw usage(`host range ${offset}+${length} was not handed out`);
    }
    for (let cluster = first; cluster < end; cluster++) {
      if (this.#counts.get(cluster) < this.maxCount) continue;
      throw usage(
        `host cluster at ${cluster * this.clusterSize} has ${this.maxCount} uses: more need a higher refcount order`,
      );
    }
    for (let cluster = first; cluster < end; cluster++) {
      this.#counts.set(cluster, this.#counts.get(cluster) + 1);
    }
  }

  /** The refcounts of clusters `from` to `to` - 1, in order. */
  counts(from: number, to: number): Generator<CountRun> {
    return this.#counts.runs(from, to);
  }
}
