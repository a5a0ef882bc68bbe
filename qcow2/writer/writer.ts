import type { WriteTarget } from '../../block/index.ts';
import { ALL_SUBCLUSTERS, compressedOffsetLimit, writeCompressedEntry } from '../meta/l2-encode.ts';
import { BitmapList } from './bitmap-list.ts';
import { type BitmapOptions, writeBitmap } from './bitmap-writer.ts';
import { ClusterEntries, type SubclusterBits } from './cluster-entries.ts';
import { DiskSequence } from './disk-sequence.ts';
import type { TablePart } from './disk-tables.ts';
import { HostSpace } from './host-space.ts';
import { checkHeaderFits, imageHeader } from './image-header.ts';
import { type ImagePlan, planImage, type Qcow2WriterOptions } from './options.ts';
import { writeRefcounts } from './refcounts.ts';
import { Sharing } from './sharing.ts';
import type { SnapshotOptions } from './snapshot-list.ts';
import { StreamSpace } from './stream-space.ts';
import { usage } from './usage.ts';

/** Guest clusters that follow each other in the host file too. */
export interface HostRun {
  /** Number of the first guest cluster. */
  readonly cluster: number;
  /** Clusters, at least 1. */
  readonly count: number;
  /** Host offset of the first, in bytes. */
  readonly offset: number;
}

/**
 * Writes the metadata of a new qcow2 image, version 2 or 3; callers write the data.
 *
 * Host clusters are handed out one after the other, and callers write data clusters at the offsets that they
 * get, in any order, from any thread. A cluster that is handed out but not written reads as zeros. What is
 * neither handed out nor zeroed is unallocated.
 *
 * An image with internal snapshots is written disk by disk: {@link Qcow2Writer.beginSnapshot} for each snapshot,
 * then {@link Qcow2Writer.beginActive} for the disk that the guest has. A cluster that a former disk has already
 * is shared instead of allocated. The active disk comes last, since what it allocates is its own from then on.
 *
 * Within a disk, clusters must come in ascending order, and one call must be over before the next begins.
 *
 * Memory: the L1 tables of the active disk and of one snapshot (at most 32 MiB each), one L2 table, and for
 * compressed or shared clusters their refcounts (one byte for each host cluster, as a rule). The host file, in
 * clusters: header; L2 tables, each before the data that it describes; L1 table; snapshot table; bitmap directory;
 * refcount table; refcount blocks. The header goes last, so a file that was not finished is not an image.
 */
export class Qcow2Writer {
  /** Of the active disk in bytes, rounded up. */
  readonly virtualSize: number;
  readonly clusterSize: number;
  readonly #target: WriteTarget;
  readonly #plan: ImagePlan;
  readonly #clusterBits: number;
  readonly #space: HostSpace;
  readonly #streams: StreamSpace;
  readonly #disks: DiskSequence;
  readonly #entries: ClusterEntries;
  readonly #sharing: Sharing;
  readonly #bitmaps = new BitmapList();
  #finished = false;

  /** @throws ImgstoreError `USAGE` for what qcow2 does not have, or names and extensions that do not fit. */
  constructor(target: WriteTarget, options: Qcow2WriterOptions) {
    this.#target = target;
    this.#plan = planImage(options);
    this.clusterSize = this.#plan.clusterSize;
    this.virtualSize = this.#plan.virtualSize;
    this.#clusterBits = Math.log2(this.clusterSize);
    this.#space = new HostSpace(this.clusterSize, this.#plan.refcountOrder);
    this.#streams = new StreamSpace(this.#space);
    this.#disks = new DiskSequence(target, this.#space, this.#plan);
    this.#entries = new ClusterEntries(this.#disks, this.#plan);
    this.#sharing = new Sharing(this.#disks, this.#entries, this.#space);
    checkHeaderFits(this.#plan, false);
  }

  /**
   * Allocates one guest cluster.
   * @returns its host offset, where the caller writes `clusterSize` bytes (fewer: the rest reads as zeros).
   */
  async allocate(cluster: number): Promise<number> {
    const [run] = await this.allocateRun(cluster, 1);
    return run!.offset;
  }

  /**
   * Allocates `count` guest clusters from `cluster` on.
   * @returns runs in guest order; one ends where an L2 table does, every `clusterSize / 8` clusters (16 with
   * extended L2 entries).
   * @throws ImgstoreError `USAGE` when a cluster is out of order or not on the disk.
   */
  async allocateRun(cluster: number, count: number): Promise<HostRun[]> {
    const runs: HostRun[] = [];
    for await (const part of this.#walk(cluster, count)) {
      const offset = this.#space.take(part.count);
      this.#entries.enter(
        part,
        offset,
        { copied: this.#disks.isActive, zero: false },
        { data: ALL_SUBCLUSTERS, zero: 0 },
      );
      runs.push({ cluster: part.cluster, count: part.count, offset });
    }
    return runs;
  }

  /**
   * Allocates one guest cluster of an image with extended L2 entries, of which not all subclusters are data.
   * @returns the host offset of the whole cluster, in which each subcluster of data has its own place; undefined
   * when none is data.
   * @throws ImgstoreError `USAGE`, also when a subcluster is both data and zero.
   */
  async allocateSubclusters(cluster: number, bits: SubclusterBits): Promise<number | undefined> {
    this.#entries.checkBits(bits);
    let offset: number | undefined;
    for await (const part of this.#walk(cluster, 1)) {
      if (bits.data !== 0) offset = this.#space.take(1);
      this.#entries.enter(
        part,
        offset ?? 0,
        { copied: this.#disks.isActive && offset !== undefined, zero: false },
        bits,
      );
    }
    return offset;
  }

  /**
   * Gives a compressed cluster its place, right behind the one before where it can be.
   * @param length of the stream in bytes, below a cluster (see `loadCompressor`).
   * @returns the host offset, where the caller writes the stream; no multiple of anything.
   * @throws ImgstoreError `USAGE`.
   */
  async placeCompressed(cluster: number, length: number): Promise<number> {
    if (!Number.isInteger(length) || length < 1 || length > this.clusterSize) {
      throw usage(`a compressed cluster has 1 to ${this.clusterSize} bytes, not ${length}`);
    }
    let offset = 0;
    for await (const part of this.#walk(cluster, 1)) {
      offset = this.#streams.place(length);
      if (offset >= compressedOffsetLimit(this.#clusterBits)) {
        throw usage(
          `host offset ${offset} is too large for compressed clusters of ${this.clusterSize} bytes`,
        );
      }
      writeCompressedEntry(part.table, part.at, this.#clusterBits, offset, length);
    }
    return offset;
  }

  /**
   * Makes `count` guest clusters from `cluster` on read as zeros, whatever the backing file holds there. In version
   * 2, which has no zero clusters, those over a backing file are allocated instead and need not be written.
   * @param options `preallocate` gives each a place in the file all the same, for writes to come.
   */
  async zero(
    cluster: number,
    count: number,
    options: { readonly preallocate?: boolean | undefined } = {},
  ): Promise<void> {
    const { version, backing } = this.#plan;
    const placed = options.preallocate === true || (version === 2 && backing !== undefined);
    for await (const part of this.#walk(cluster, count)) {
      const offset = placed ? this.#space.take(part.count) : 0;
      const flags = { copied: this.#disks.isActive && placed, zero: version === 3 };
      this.#entries.enter(part, offset, flags, { data: 0, zero: ALL_SUBCLUSTERS });
    }
  }

  /**
   * Lets `count` guest clusters from `cluster` on have the bytes that clusters of a former disk have.
   * @param offset host offset of the first; the others follow it there.
   * @throws ImgstoreError `USAGE`, also when the refcounts cannot count it, or when the active disk itself allocated
   * them: a guest writes to those in place.
   */
  async share(cluster: number, offset: number, count = 1): Promise<void> {
    this.#checkOpen();
    await this.#sharing.share(cluster, offset, count, { data: ALL_SUBCLUSTERS, zero: 0 });
  }

  /** As {@link Qcow2Writer.share}, for one cluster of an image with extended L2 entries. */
  async shareSubclusters(cluster: number, offset: number, bits: SubclusterBits): Promise<void> {
    this.#entries.checkBits(bits);
    if (bits.data === 0) throw usage('what is shared has data');
    this.#checkOpen();
    await this.#sharing.share(cluster, offset, 1, bits);
  }

  /**
   * Lets a guest cluster have a compressed cluster that was placed before, for this disk or another.
   * @param offset as placed. @param length of the stream in bytes.
   * @throws ImgstoreError `USAGE`, also when the refcounts cannot count it.
   */
  async shareCompressed(cluster: number, offset: number, length: number): Promise<void> {
    this.#checkOpen();
    await this.#sharing.shareCompressed(cluster, offset, length);
  }

  /**
   * What comes from now on is the disk of an internal snapshot, from its first cluster on.
   * @throws ImgstoreError `USAGE` once the active disk has begun, or for a size that the version does not have.
   */
  async beginSnapshot(options: SnapshotOptions): Promise<void> {
    this.#checkOpen();
    await this.#disks.beginSnapshot(options);
  }

  /** What comes from now on is the active disk, as it is from the start in an image without snapshots. */
  async beginActive(): Promise<void> {
    this.#checkOpen();
    await this.#disks.beginActive();
  }

  /**
   * Writes a persistent bitmap of the active disk; at any time before the end. QEMU applies no internal snapshots to
   * an image while it has bitmaps.
   * @throws ImgstoreError `USAGE` for what QEMU would refuse.
   */
  async addBitmap(options: BitmapOptions): Promise<void> {
    this.#checkOpen();
    this.#bitmaps.admit(options.name, this.#plan);
    checkHeaderFits(this.#plan, true);
    this.#bitmaps.add(await writeBitmap(this.#target, this.#space, options, this.virtualSize));
  }

  /**
   * Writes all metadata that is still missing, the header last. Data must have been written, or be written before
   * the file is used.
   * @returns the file's size in bytes, a multiple of the cluster size.
   * @throws ImgstoreError `USAGE` when a snapshot was begun and the active disk was not.
   */
  async finish(): Promise<number> {
    this.#checkOpen();
    if (!this.#disks.isActive) throw usage('the active disk has not begun');
    this.#finished = true;
    this.#streams.close();
    const { l1Offset, snapshotTable } = await this.#disks.finish();
    const snapshots = await this.#writeList(snapshotTable);
    const bitmaps = await this.#writeList(this.#bitmaps.encode());
    const refcounts = await writeRefcounts(this.#target, this.#space);
    const header = imageHeader(this.#plan, {
      l1Offset,
      refcountTableOffset: refcounts.tableOffset,
      refcountTableClusters: refcounts.tableClusters,
      snapshots: snapshots && { count: this.#disks.snapshotCount, offset: snapshots.offset },
      bitmaps: bitmaps && { count: this.#bitmaps.count, ...bitmaps },
    });
    await this.#target.write(0, header);
    return refcounts.fileSize;
  }

  /** The parts of a range of the present disk, which the walk then has passed. */
  #walk(cluster: number, count: number): AsyncGenerator<TablePart> {
    this.#checkOpen();
    return this.#entries.walk(cluster, count);
  }

  /** Writes a list of entries into clusters of its own; an empty one has no place. */
  async #writeList(bytes: Buffer): Promise<{ readonly offset: number; readonly size: number } | undefined> {
    if (bytes.length === 0) return undefined;
    const offset = this.#space.take(Math.ceil(bytes.length / this.clusterSize));
    await this.#target.write(offset, bytes);
    return { offset, size: bytes.length };
  }

  #checkOpen(): void {
    if (this.#finished) throw usage('the image is finished');
  }
}
