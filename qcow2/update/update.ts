import type { InPlaceFile } from '../../block/index.ts';
import { type Geometry, geometryOf } from '../meta/geometry.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { readEntry, writeOwnEntry, writePlacelessEntry } from './l2-entries.ts';
import { L2Tables } from './l2-tables.ts';
import { Refcounts } from './refcounts.ts';
import { clearUnknownAutoclear } from './writable.ts';

/** L2 tables that are kept before they must be written. */
const MOST_TABLE_BYTES = 16 * 2 ** 20;
/** Clusters that wait to be given back. */
const MOST_RELEASED = 2 ** 18;

/** Where a guest's cluster is to be written. */
export interface ClusterPlace {
  /** Host bytes. */
  readonly offset: number;
  /** Nothing leads there yet: all of the cluster must be written. */
  readonly isNew: boolean;
  /** A new one may hold other bytes than zeros. */
  readonly isUsed: boolean;
}

/**
 * Changes clusters of an image's present disk, in the file as it is.
 *
 * New clusters get their data and refcounts before an L2 entry leads to them, and old ones are given back after that, with an fsync between, so that a kill or a failure of the
 * power at any moment leaves an image that is whole, but for clusters that nobody uses (leaks). Clusters that the disk has alone are written over; those that snapshots share, compressed ones
 * and those of a backing file are replaced.
 */
export class ImageUpdate {
  readonly clusterSize: number;
  readonly #file: InPlaceFile;
  readonly #header: Qcow2Header;
  readonly #geometry: Geometry;
  readonly #refcounts: Refcounts;
  readonly #tables: L2Tables;
  #released: number[] = [];
  #hasBegun = false;

  /** @param header of an image that was found writable and free of corruptions. @param image its name, for errors */
  constructor(file: InPlaceFile, header: Qcow2Header, image: string) {
    this.#file = file;
    this.#header = header;
    this.#geometry = geometryOf(header.clusterBits, header.extendedL2);
    this.clusterSize = this.#geometry.clusterSize;
    this.#refcounts = new Refcounts(file, header, image);
    this.#tables = new L2Tables(file, header, this.#geometry, this.#refcounts);
  }

  /** Whether what was begun should be {@link ImageUpdate.apply}ed, so that memory stays bounded. */
  get isFull(): boolean {
    return this.#tables.heldBytes >= MOST_TABLE_BYTES || this.#released.length >= MOST_RELEASED;
  }

  /** Whether the image has nothing of its own at a guest cluster: its backing file shows. */
  isUnallocated(cluster: number): boolean {
    const { index, at } = this.#entryOf(cluster);
    return readEntry(this.#geometry, this.#tables.get(index).bytes, at).isUnallocated;
  }

  /** Where the data of a guest cluster is to be written, before {@link ImageUpdate.apply}. @param cluster its number */
  place(cluster: number): ClusterPlace {
    this.#begin();
    const { index, at } = this.#entryOf(cluster);
    const { bytes } = this.#tables.get(index);
    const entry = readEntry(this.#geometry, bytes, at);
    if (entry.own !== undefined && entry.isWhole) return { offset: entry.own, isNew: false, isUsed: true };
    // Its place, of which nothing or a part shows, is as good as a new one.
    const kept = entry.own;
    const { offset, isUsed } = kept === undefined ? this.#refcounts.take() : { offset: kept, isUsed: true };
    if (kept === undefined) this.#released.push(...entry.clusters);
    this.#changeEntry(index, at);
    writeOwnEntry(this.#geometry, bytes, at, offset);
    return { offset, isNew: true, isUsed };
  }

  /**
   * Makes a guest cluster zeros.
   * @returns where zeros must be written, before {@link ImageUpdate.apply}: version 2 cannot say them over a backing file. Undefined when there is nothing to be written
   */
  zero(cluster: number): ClusterPlace | undefined {
    this.#begin();
    const { index, at } = this.#entryOf(cluster);
    const { bytes } = this.#tables.get(index);
    const { isZero, isUnallocated, clusters } = readEntry(this.#geometry, bytes, at);
    const hasBacking = this.#header.backingFile !== undefined;
    if (isZero || (isUnallocated && !hasBacking)) return undefined;
    if (hasBacking && this.#header.version === 2) return this.place(cluster);
    this.#released.push(...clusters);
    this.#changeEntry(index, at);
    writePlacelessEntry(this.#geometry, bytes, at, hasBacking);
    return undefined;
  }

  /** Makes all that was begun show, once its data is written. @throws ImgstoreError `IO` */
  async apply(): Promise<void> {
    // What was only looked at is let go of.
    if (!this.#hasBegun) return await this.#tables.write();
    // A reader takes what an entry leads to behind the end for a file that is cut off.
    if (!this.#file.isDevice && this.#file.size < this.#refcounts.endOffset)
      await this.#file.resize(this.#refcounts.endOffset);
    const replaced = await this.#refcounts.write();
    await this.#file.sync();
    await this.#tables.write();
    await this.#file.sync();
    const free = [...this.#released, ...replaced].filter((offset) => this.#refcounts.release(offset) === 0);
    await this.#refcounts.write();
    for (const { offset, length } of runs(free, this.clusterSize)) this.#file.zero(offset, length);
    this.#released = [];
  }

  /** Whatever a newer QEMU keeps in the image for itself would not be true any more. */
  #begin(): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    clearUnknownAutoclear(this.#file, this.#header);
  }

  #changeEntry(index: number, at: number): void {
    this.#tables.change(index, at, (offset) => this.#released.push(offset));
  }

  #entryOf(cluster: number): { readonly index: number; readonly at: number } {
    const { l2Entries, l2EntryBytes } = this.#geometry;
    return { index: Math.floor(cluster / l2Entries), at: (cluster % l2Entries) * l2EntryBytes };
  }
}

/** Neighbouring clusters as one range each. */
function runs(offsets: readonly number[], clusterSize: number): { offset: number; length: number }[] {
  const all: { offset: number; length: number }[] = [];
  for (const offset of offsets.toSorted((a, b) => a - b)) {
    const last = all.at(-1);
    if (last !== undefined && last.offset + last.length === offset) last.length += clusterSize;
    else all.push({ offset, length: clusterSize });
  }
  return all;
}
