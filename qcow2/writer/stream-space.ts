import type { HostSpace } from './host-space.ts';

/** Clusters for streams are taken this many bytes at a time, so that plain clusters between them cut few streams' clusters short. */
const REGION_BYTES = 1024 * 1024;
const LEAST_REGION_CLUSTERS = 4;

/**
 * Places compressed clusters: one stream behind the other, at any byte, within host clusters that hold nothing else.
 * A host cluster counts the streams that touch it. What is left of a region when a stream does not fit stays unused.
 */
export class StreamSpace {
  readonly #space: HostSpace;
  readonly #regionClusters: number;
  /** Host bytes: where the next stream begins, and where the region ends. */
  #next = 0;
  #end = 0;

  constructor(space: HostSpace) {
    this.#space = space;
    this.#regionClusters = Math.max(LEAST_REGION_CLUSTERS, REGION_BYTES / space.clusterSize);
  }

  /** The host offset of a stream of `length` bytes, at most a cluster. @throws ImgstoreError `USAGE`. */
  place(length: number): number {
    const { clusterSize, maxCount } = this.#space;
    let start = this.#next;
    if (start % clusterSize !== 0 && this.#space.uses(start) === maxCount) {
      start = Math.ceil(start / clusterSize) * clusterSize;
    }
    if (start + length > this.#end) {
      const region = this.#space.reserve(this.#regionClusters);
      if (region !== this.#end) start = region;
      this.#end = region + this.#regionClusters * clusterSize;
    }
    this.#space.use(start, length);
    this.#next = start + length;
    return start;
  }

  /** Gives back what is unused at the end of the file. No stream may come after. */
  close(): void {
    if (this.#end !== this.#space.end) return;
    this.#space.giveBack(Math.ceil(this.#next / this.#space.clusterSize) * this.#space.clusterSize);
  }
}
