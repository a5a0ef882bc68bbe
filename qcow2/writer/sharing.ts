import { writeCompressedEntry } from '../meta/l2-encode.ts';
import type { ClusterEntries, SubclusterBits } from './cluster-entries.ts';
import type { DiskSequence } from './disk-sequence.ts';
import type { HostSpace } from './host-space.ts';
import { usage } from './usage.ts';

/** Guest clusters that have the bytes of clusters which a former disk of the image has already. */
export class Sharing {
  readonly #disks: DiskSequence;
  readonly #entries: ClusterEntries;
  readonly #space: HostSpace;

  constructor(disks: DiskSequence, entries: ClusterEntries, space: HostSpace) {
    this.#disks = disks;
    this.#entries = entries;
    this.#space = space;
  }

  /**
   * Shares `count` clusters, which follow each other from host offset `offset` on.
   * @throws ImgstoreError `USAGE`, also when the refcounts cannot count it, or when the active disk itself allocated
   * them: a guest writes to those in place.
   */
  async share(cluster: number, offset: number, count: number, bits: SubclusterBits): Promise<void> {
    const { clusterSize } = this.#space;
    if (offset % clusterSize !== 0) throw usage(`host offset ${offset} is not that of a cluster`);
    if (this.#disks.isActive && offset + count * clusterSize > this.#disks.activeFrom) {
      throw usage(`host offset ${offset} is the active disk's own, where guests write in place`);
    }
    let from = offset;
    for await (const part of this.#entries.walk(cluster, count)) {
      const length = part.count * clusterSize;
      this.#space.use(from, length);
      this.#entries.enter(part, from, { copied: false, zero: false }, bits);
      from += length;
    }
  }

  /**
   * Shares a compressed cluster of this disk or a former one; nobody writes to those in place.
   * @param length of the stream in bytes.
   * @throws ImgstoreError `USAGE`, also when the refcounts cannot count it.
   */
  async shareCompressed(cluster: number, offset: number, length: number): Promise<void> {
    const clusterBits = Math.log2(this.#space.clusterSize);
    for await (const part of this.#entries.walk(cluster, 1)) {
      this.#space.use(offset, length);
      writeCompressedEntry(part.table, part.at, clusterBits, offset, length);
    }
  }
}
