import type { WriteTarget } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import { type Geometry, geometryOf } from '../meta/geometry.ts';
import { encodeHeader } from '../meta/header-encode.ts';
import { copiedEntry, ZERO_ENTRY } from '../meta/l2-entry.ts';
import * as layout from '../meta/layout.ts';
import { REFCOUNT_BYTES, refcountLayout } from '../meta/refcount.ts';
import { writeRefcounts } from './refcounts.ts';
import { writeSparse } from './sparse-write.ts';

/** What a new image is to be. */
export interface Qcow2WriterOptions {
  /** Bytes; rounded up to a multiple of 512. */
  readonly virtualSize: number;
  /** Bytes; a power of two from 512 to 2 MiB. */
  readonly clusterSize: number;
  /** What unallocated clusters read from; the name is written as it is. */
  readonly backing?: { readonly file: string; readonly format: 'qcow2' | 'raw' } | undefined;
}

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
 * Writes the metadata of a new qcow2 image, version 3; callers write the data.
 *
 * Host clusters are handed out one after the other, and callers write data clusters at the offsets that they
 * get, in any order, from any thread. A cluster that is handed out but not written reads as zeros. What is
 * neither handed out nor zeroed is unallocated. Memory: the L1 table (at most 32 MiB) and one L2 table.
 *
 * The host file, in clusters: header; L2 tables, each before the data that it describes; L1 table; refcount
 * table; refcount blocks. The header goes last, so a file that was not finished is not an image.
 *
 * Clusters must come in ascending order, and one call must be over before the next begins.
 */
export class Qcow2Writer {
  /** Bytes, rounded up. */
  readonly virtualSize: number;
  readonly clusterSize: number;
  readonly #target: WriteTarget;
  readonly #options: Qcow2WriterOptions;
  readonly #geometry: Geometry;
  readonly #guestClusters: number;
  readonly #maxHostClusters: number;
  readonly #l1: Buffer;
  /** The table that the walk is in; flushed when it is passed. */
  #l2: { readonly index: number; readonly offset: number; readonly bytes: Buffer } | undefined;
  /** The least guest cluster that may come next. */
  #next = 0;
  /** Host clusters handed out; the header has the first. */
  #hostClusters = 1;
  #finished = false;

  /** @throws ImgstoreError `USAGE` for sizes that qcow2 does not have, or a backing name that does not fit. */
  constructor(target: WriteTarget, options: Qcow2WriterOptions) {
    const { virtualSize, clusterSize } = options;
    const clusterBits = Math.log2(clusterSize);
    if (
      !Number.isInteger(clusterBits) ||
      clusterBits < layout.MIN_CLUSTER_BITS ||
      clusterBits > layout.MAX_CLUSTER_BITS
    ) {
      throw usage(`cluster size ${clusterSize} is not a power of two from 512 to 2097152`);
    }
    if (!Number.isSafeInteger(virtualSize + layout.SECTOR) || virtualSize < 0) {
      throw usage(`virtual size ${virtualSize} is not a number of bytes below 2^53`);
    }
    this.#target = target;
    this.#options = options;
    this.clusterSize = clusterSize;
    this.virtualSize = Math.ceil(virtualSize / layout.SECTOR) * layout.SECTOR;
    this.#geometry = geometryOf(clusterBits, false);
    this.#guestClusters = Math.ceil(this.virtualSize / clusterSize);
    const l1Bytes = Math.ceil(this.virtualSize / this.#geometry.l2Span) * layout.TABLE_ENTRY_BYTES;
    if (l1Bytes > layout.MAX_L1_BYTES) {
      throw usage(`a disk of ${virtualSize} bytes needs clusters larger than ${clusterSize} bytes`);
    }
    this.#l1 = Buffer.alloc(l1Bytes);
    const refcountBlocks = layout.MAX_REFCOUNT_TABLE_BYTES / layout.TABLE_ENTRY_BYTES;
    this.#maxHostClusters = refcountBlocks * (clusterSize / REFCOUNT_BYTES);
    this.#checkHeader();
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
   * @returns runs in guest order; one ends where an L2 table does, every `clusterSize / 8` clusters.
   * @throws ImgstoreError `USAGE` when a cluster is out of order or not on the disk.
   */
  async allocateRun(cluster: number, count: number): Promise<HostRun[]> {
    this.#advance(cluster, count);
    const runs: HostRun[] = [];
    await this.#eachTable(cluster, count, (table, first, from, length) => {
      const offset = this.#takeHost(length);
      for (let i = 0; i < length; i++) {
        table.writeBigUInt64BE(
          copiedEntry(offset + i * this.clusterSize),
          (from + i) * layout.TABLE_ENTRY_BYTES,
        );
      }
      runs.push({ cluster: first, count: length, offset });
    });
    return runs;
  }

  /** Makes `count` guest clusters from `cluster` on read as zeros, whatever the backing file holds there. */
  async zero(cluster: number, count: number): Promise<void> {
    this.#advance(cluster, count);
    await this.#eachTable(cluster, count, (table, _first, from, length) => {
      for (let i = 0; i < length; i++) {
        table.writeBigUInt64BE(ZERO_ENTRY, (from + i) * layout.TABLE_ENTRY_BYTES);
      }
    });
  }

  /**
   * Writes all metadata that is still missing, the header last. Data must have been written, or be written before
   * the file is used.
   * @returns the file's size in bytes, a multiple of the cluster size.
   */
  async finish(): Promise<number> {
    this.#advance(this.#guestClusters, 0);
    this.#finished = true;
    await this.#flush();
    const l1Offset = this.#hostClusters * this.clusterSize;
    await writeSparse(this.#target, l1Offset, this.#l1);
    const counted = this.#hostClusters + Math.ceil(this.#l1.length / this.clusterSize);
    const refcounts = refcountLayout(counted, this.clusterSize);
    const refcountTableOffset = counted * this.clusterSize;
    await writeRefcounts(this.#target, refcountTableOffset, refcounts, this.clusterSize);
    await this.#target.write(0, this.#header(l1Offset, refcountTableOffset, refcounts.tableClusters));
    return refcounts.totalClusters * this.clusterSize;
  }

  /** Calls `fill` for each part of the range that lies in one L2 table. */
  async #eachTable(
    cluster: number,
    count: number,
    fill: (table: Buffer, first: number, from: number, length: number) => void,
  ): Promise<void> {
    const { l2Entries } = this.#geometry;
    for (let first = cluster; first < cluster + count; ) {
      const from = first % l2Entries;
      const length = Math.min(l2Entries - from, cluster + count - first);
      fill(await this.#table(Math.floor(first / l2Entries)), first, from, length);
      first += length;
    }
  }

  async #table(index: number): Promise<Buffer> {
    if (this.#l2?.index === index) return this.#l2.bytes;
    await this.#flush();
    const offset = this.#takeHost(1);
    const bytes = Buffer.alloc(this.clusterSize);
    this.#l2 = { index, offset, bytes };
    this.#l1.writeBigUInt64BE(copiedEntry(offset), index * layout.TABLE_ENTRY_BYTES);
    return bytes;
  }

  async #flush(): Promise<void> {
    if (this.#l2 === undefined) return;
    const { offset, bytes } = this.#l2;
    this.#l2 = undefined;
    await this.#target.write(offset, bytes);
  }

  #takeHost(count: number): number {
    const first = this.#hostClusters;
    const l1Clusters = Math.ceil(this.#l1.length / this.clusterSize);
    const total = refcountLayout(first + count + l1Clusters, this.clusterSize).totalClusters;
    if (total > this.#maxHostClusters) {
      throw usage(`the image grows beyond what refcounts of ${this.clusterSize} byte clusters can count`);
    }
    this.#hostClusters = first + count;
    return first * this.clusterSize;
  }

  #advance(cluster: number, count: number): void {
    if (this.#finished) throw usage('the image is finished');
    const end = cluster + count;
    if (
      !Number.isSafeInteger(cluster) ||
      !Number.isSafeInteger(count) ||
      count < 0 ||
      end > this.#guestClusters
    ) {
      throw usage(`clusters ${cluster}+${count} are not on a disk of ${this.#guestClusters} clusters`);
    }
    if (cluster < this.#next) throw usage(`cluster ${cluster} comes after cluster ${this.#next - 1}`);
    this.#next = end;
  }

  #checkHeader(): void {
    const { backing } = this.#options;
    const name = Buffer.byteLength(backing?.file ?? '');
    if (name > layout.MAX_BACKING_NAME_BYTES || this.#header(0, 0, 0).length > this.clusterSize) {
      throw usage(
        `the backing file's name of ${name} bytes does not fit clusters of ${this.clusterSize} bytes`,
      );
    }
  }

  #header(l1Offset: number, refcountTableOffset: number, refcountTableClusters: number): Uint8Array {
    return encodeHeader({
      clusterBits: this.#geometry.clusterBits,
      virtualSize: this.virtualSize,
      l1Offset,
      l1Entries: this.#l1.length / layout.TABLE_ENTRY_BYTES,
      refcountTableOffset,
      refcountTableClusters,
      backing: this.#options.backing,
    });
  }
}

function usage(why: string): ImgstoreError {
  return new ImgstoreError('USAGE', `qcow2 writer: ${why}`);
}
