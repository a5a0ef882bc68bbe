import type { HostSpace } from './host-space.ts';

/**
 * Clusters for streams are taken many at a time, so that plain clusters between them cut few short: a part of what
 * was taken before, since what is left over at the end is a hole in the file.
 */
const REGION_PART = 1 / 16;
const MOST_REGION_BYTES = 8 * 1024 * 1024;
const LEAST_REGION_CLUSTERS = 4;

/**
 * Places compressed clusters: one stream behind the other, at any byte, within host clusters that hold nothing else.
 * A host cluster counts the streams that touch it. What is left of a region when a stream does not fit stays unused.
 */
export class StreamSpace {
  readonly #space: HostSpace;
  /** Clusters of all regions. */
  #taken = 0;
  /** Host bytes: where the next stream begins, and where the region ends. */
  #next = 0;
  #end = 0;

  constructor(space: HostSpace) {
    this.#space = space;
  }

  /** The host offset of a stream of `length` bytes, at most a cluster. @throws ImgstoreError `USAGE`. */
  place(length: number): number {
    const { clusterSize, maxCount } = this.#space;
    let start = this.#next;
    if (start % clusterSize !== 0 && this.#space.uses(start) === maxCount) {
      start = Math.ceil(start / clusterSize) * clusterSize;
    }
    if (start + length > this.#end) {
      const region = this.#takeRegion();
      // Behind the one before, a stream goes on into it.
      if (region.offset !== this.#end) start = region.offset;
      this.#end = region.end;
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

  #takeRegion(): { readonly offset: number; readonly end: number } {
    const { clusterSize } = this.#space;
    const wanted = Math.min(Math.floor(this.#taken * REGION_PART), MOST_REGION_BYTES / clusterSize);
    const clusters = Math.max(LEAST_REGION_CLUSTERS, wanted);
    const offset = this.#space.reserve(clusters);
    this.#taken += clusters;
    return { offset, end: offset + clusters * clusterSize };
  }
}
