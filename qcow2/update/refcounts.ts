import type { InPlaceFile } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import { badImage, unsupported } from '../meta/fault.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { MAX_REFCOUNT_TABLE_BYTES, REFCOUNT_TABLE_OFFSET_AT, TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import { type RefcountReader, refcountReader, refcountsPerBlock } from '../meta/refcount-block.ts';
import { fillRefcounts } from '../meta/refcount-encode.ts';
import { refcountTableEntry } from '../meta/refcount-table.ts';

/** Of blocks; those that are to be written are kept beyond it. */
const MOST_CACHED_BYTES = 8 * 2 ** 20;
/** Clusters that were given back and can be handed out once more; others are found when the image is opened again. */
const MOST_REUSABLE = 2 ** 16;

interface Block {
  readonly offset: number;
  readonly bytes: Buffer;
  isChanged: boolean;
}

/** A host cluster that was handed out. */
export interface NewCluster {
  /** Host bytes. */
  readonly offset: number;
  /** It may hold bytes of what was there before; else it lies behind the end of the file and reads as zeros. */
  readonly isUsed: boolean;
}

/**
 * The refcounts of an image that is being changed: who takes clusters and gives them back does so in memory, and {@link Refcounts.write} says when it shows in the file.
 *
 * Clusters are handed out from the lowest free one on, and then behind the end of the file; once more only when it is said that nothing leads to them. The image must have been found
 * free of corruptions: what has no refcount is overwritten.
 */
export class Refcounts {
  readonly #file: InPlaceFile;
  readonly #image: string;
  readonly #clusterSize: number;
  readonly #order: number;
  readonly #perBlock: number;
  readonly #read: RefcountReader;
  readonly #blocks = new Map<number, Block>();
  #table: Buffer;
  #tableOffset: number;
  /** Entries of the table in the file that are not those in memory. */
  readonly #changedEntries = new Set<number>();
  /** The table lies at another place than the header says. */
  #isMoved = false;
  /** Host offsets of clusters that were free once, were handed out and given back. */
  readonly #reusable: number[] = [];
  /** The next cluster that may be free. */
  #cursor = 0;
  /** Clusters of the file when it was opened. */
  readonly #clustersAtOpen: number;
  /** Cluster behind all that were handed out. */
  #end: number;

  constructor(file: InPlaceFile, header: Qcow2Header, image: string) {
    this.#file = file;
    this.#image = image;
    this.#clusterSize = 2 ** header.clusterBits;
    this.#order = header.refcountOrder;
    this.#perBlock = refcountsPerBlock(this.#order, this.#clusterSize);
    this.#read = refcountReader(this.#order);
    this.#tableOffset = header.refcountTableOffset;
    this.#table = Buffer.alloc(header.refcountTableClusters * this.#clusterSize);
    file.read(this.#tableOffset, this.#table);
    const clusters = file.size / this.#clusterSize;
    this.#clustersAtOpen = file.isDevice ? Math.floor(clusters) : Math.ceil(clusters);
    this.#end = this.#clustersAtOpen;
  }

  /** Hands out a cluster, with refcount 1. @throws ImgstoreError `IO` when a device has no more, `UNSUPPORTED` when a file would become too large */
  take(): NewCluster {
    const offset = this.#reusable.pop();
    if (offset !== undefined) {
      this.#set(offset / this.#clusterSize, 1);
      return { offset, isUsed: true };
    }
    const cluster = this.#takeFree();
    this.#set(cluster, 1);
    return { offset: cluster * this.#clusterSize, isUsed: cluster < this.#clustersAtOpen };
  }

  /** Hands out clusters that lie side by side, each with refcount 1. @returns host bytes of the first */
  takeRun(count: number): number {
    if (count === 1) return this.take().offset;
    const first = this.#append(count);
    for (let i = 0; i < count; i++) this.#set(first + i, 1);
    return first * this.#clusterSize;
  }

  /** Takes back a cluster that was handed out, and that nothing leads to or ever did. @param offset host bytes */
  giveBack(offset: number): void {
    this.release(offset);
    this.reuse([offset]);
  }

  /** Hands clusters out again that have refcount 0, now that nothing in the file leads to them. @param offsets host bytes */
  reuse(offsets: readonly number[]): void {
    for (const offset of offsets.slice(0, MOST_REUSABLE - this.#reusable.length)) this.#reusable.push(offset);
  }

  /** Looks for free clusters near the end of the file alone: refcounts of a large image are many. */
  lookNearEnd(): void {
    this.#cursor = Math.max(this.#cursor, this.#clustersAtOpen - this.#perBlock);
  }

  /** How many use the cluster at a host offset. */
  count(offset: number): number {
    return this.#get(offset / this.#clusterSize);
  }

  /** Takes one from the refcount of the cluster at a host offset. Returns what is left. @throws ImgstoreError `BAD_IMAGE` when it has none */
  release(offset: number): number {
    const cluster = offset / this.#clusterSize;
    const left = this.#get(cluster) - 1;
    if (left < 0)
      throw badImage(this.#image, `the refcount of the cluster at offset ${offset} is 0, but it is in use`, {
        offset,
      });
    this.#set(cluster, left);
    return left;
  }

  /** Where the table lies, or will lie when it is written, in bytes. */
  get tableOffset(): number {
    return this.#tableOffset;
  }

  /** Bytes from the start of the file to the end of the last cluster that was handed out. */
  get endOffset(): number {
    return this.#end * this.#clusterSize;
  }

  /**
   * Writes what has changed: blocks before what leads to them, so that at no moment a cluster that was handed out counts as free where the one before did not.
   * @returns host offsets of the clusters of a table that has been replaced, which are to be released
   * @throws ImgstoreError `IO`
   */
  async write(): Promise<readonly number[]> {
    for (const block of this.#blocks.values()) {
      if (block.isChanged) this.#file.write(block.offset, block.bytes);
      block.isChanged = false;
    }
    if (this.#isMoved) return await this.#writeMovedTable();
    if (this.#changedEntries.size > 0) await this.#file.sync();
    for (const index of this.#changedEntries) {
      const at = index * TABLE_ENTRY_BYTES;
      this.#file.write(this.#tableOffset + at, this.#table.subarray(at, at + TABLE_ENTRY_BYTES));
    }
    this.#changedEntries.clear();
    return [];
  }

  async #writeMovedTable(): Promise<readonly number[]> {
    this.#file.write(this.#tableOffset, this.#table);
    await this.#file.sync();
    const place = Buffer.alloc(REFCOUNT_PLACE_BYTES);
    this.#file.read(REFCOUNT_TABLE_OFFSET_AT, place);
    const [oldOffset, oldClusters] = [Number(place.readBigUInt64BE(0)), place.readUInt32BE(8)];
    place.writeBigUInt64BE(BigInt(this.#tableOffset), 0);
    place.writeUInt32BE(this.#table.length / this.#clusterSize, 8);
    this.#file.write(REFCOUNT_TABLE_OFFSET_AT, place);
    this.#isMoved = false;
    this.#changedEntries.clear();
    return Array.from({ length: oldClusters }, (_, i) => oldOffset + i * this.#clusterSize);
  }

  #get(cluster: number): number {
    const block = this.#block(Math.floor(cluster / this.#perBlock));
    return block === undefined ? 0 : this.#read(block.bytes, cluster % this.#perBlock);
  }

  #set(cluster: number, count: number): void {
    const index = Math.floor(cluster / this.#perBlock);
    const block = this.#block(index) ?? this.#addBlock(index);
    const within = cluster % this.#perBlock;
    fillRefcounts(this.#order, block.bytes, within, within + 1, count);
    block.isChanged = true;
  }

  #takeFree(): number {
    while (this.#cursor < this.#clustersAtOpen) {
      const cluster = this.#cursor++;
      if (this.#get(cluster) === 0) return cluster;
    }
    return this.#append(1);
  }

  /** Clusters behind the end of the file. */
  #append(count: number): number {
    const first = this.#end;
    if (this.#file.isDevice) {
      const message = `${this.#file.path}: the device has no room for more clusters: make it larger, or run qemu-img convert to another one`;
      throw new ImgstoreError('IO', message, { path: this.#file.path });
    }
    if ((first + count) * this.#clusterSize > Number.MAX_SAFE_INTEGER)
      throw unsupported(this.#image, 'would become larger than 2^53 bytes');
    this.#end += count;
    return first;
  }

  #block(index: number): Block | undefined {
    const held = this.#blocks.get(index);
    if (held !== undefined) return held;
    if ((index + 1) * TABLE_ENTRY_BYTES > this.#table.length) return undefined;
    const { offset } = refcountTableEntry(this.#table, index, this.#clusterSize);
    if (offset === 0) return undefined;
    const bytes = Buffer.allocUnsafe(this.#clusterSize);
    this.#file.read(offset, bytes);
    const block = { offset, bytes, isChanged: false };
    this.#makeRoom();
    this.#blocks.set(index, block);
    return block;
  }

  #makeRoom(): void {
    if (this.#blocks.size * this.#clusterSize < MOST_CACHED_BYTES) return;
    for (const [index, { isChanged }] of this.#blocks) if (!isChanged) this.#blocks.delete(index);
  }

  #addBlock(index: number): Block {
    if ((index + 1) * TABLE_ENTRY_BYTES > this.#table.length) this.#moveTable(index + 1);
    // Moving the table may have made it.
    const made = this.#block(index);
    if (made !== undefined) return made;
    const cluster = this.#takeFree();
    const block = {
      offset: cluster * this.#clusterSize,
      bytes: Buffer.alloc(this.#clusterSize),
      isChanged: true,
    };
    this.#blocks.set(index, block);
    this.#table.writeBigUInt64BE(BigInt(block.offset), index * TABLE_ENTRY_BYTES);
    this.#changedEntries.add(index);
    this.#set(cluster, 1);
    return block;
  }

  /** Makes a table of at least so many entries behind the end of the file. */
  #moveTable(entries: number): void {
    const bytes = Math.max(2 * this.#table.length, (entries + 1) * TABLE_ENTRY_BYTES);
    const clusters = Math.ceil(Math.min(bytes, MAX_REFCOUNT_TABLE_BYTES) / this.#clusterSize);
    if (clusters * this.#clusterSize < entries * TABLE_ENTRY_BYTES)
      throw unsupported(this.#image, 'would need more refcounts than a qcow2 can have: use larger clusters');
    const first = this.#append(clusters);
    const table = Buffer.alloc(clusters * this.#clusterSize);
    this.#table.copy(table);
    this.#table = table;
    this.#tableOffset = first * this.#clusterSize;
    this.#isMoved = true;
    for (let i = 0; i < clusters; i++) this.#set(first + i, 1);
  }
}

/** The fields refcount_table_offset and refcount_table_clusters, which stand side by side. */
const REFCOUNT_PLACE_BYTES = 12;
