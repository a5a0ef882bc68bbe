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

/** What a run of guest clusters is in the image, what was begun and not applied included. */
export interface GuestRun {
  /** `other`: a compressed cluster, one that snapshots share, or one of which only parts show. */
  readonly kind: 'data' | 'zero' | 'unallocated' | 'other';
  /** Of `data`: host bytes of the first; the others follow it there. */
  readonly offset: number;
  /** Clusters, at least 1. */
  readonly count: number;
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
  /** Entries of tables are not in the file as they are in memory. */
  #hasChanged = false;

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

  /** Where the refcount table will lie when all is applied, in bytes. */
  get refcountTableOffset(): number {
    return this.#refcounts.tableOffset;
  }

  /** Whether the image has nothing of its own at a guest cluster: its backing file shows. */
  isUnallocated(cluster: number): boolean {
    const { index, at } = this.#entryOf(cluster);
    return readEntry(this.#geometry, this.#tables.get(index).bytes, at).isUnallocated;
  }

  /**
   * What guest clusters are, from one on, as long as they are alike; data as long as they lie side by side.
   * @param most clusters to look at, at least 1
   */
  lookUp(cluster: number, most = 1): GuestRun {
    const { index, at } = this.#entryOf(cluster);
    const { l2Entries, l2EntryBytes } = this.#geometry;
    const end = Math.min(most, l2Entries - (cluster % l2Entries));
    const table = this.#tables.find(index);
    if (table === undefined) return { kind: 'unallocated', offset: 0, count: end };
    const first = this.#runAt(table.bytes, at);
    let count = 1;
    for (; count < end && first.kind !== 'other'; count++) {
      const { kind, offset } = this.#runAt(table.bytes, at + count * l2EntryBytes);
      if (kind !== first.kind) break;
      if (kind === 'data' && offset !== first.offset + count * this.clusterSize) break;
    }
    return { ...first, count };
  }

  /**
   * Where the data of a guest cluster is to be written, before {@link ImageUpdate.apply}.
   * @param cluster its number
   * @param write writes it, at once; the cluster stays what it was when that throws, as on a disk that is full
   */
  place(cluster: number, write: (place: ClusterPlace) => void = () => {}): ClusterPlace {
    this.#begin();
    const { index, at } = this.#entryOf(cluster);
    const { bytes } = this.#tables.get(index);
    const entry = readEntry(this.#geometry, bytes, at);
    if (entry.own !== undefined && entry.isWhole) {
      const place = { offset: entry.own, isNew: false, isUsed: true };
      write(place);
      return place;
    }
    // Its place, of which nothing or a part shows, is as good as a new one.
    const kept = entry.own;
    const { offset, isUsed } = kept === undefined ? this.#refcounts.take() : { offset: kept, isUsed: true };
    const place = { offset, isNew: true, isUsed };
    try {
      write(place);
    } catch (error) {
      if (kept === undefined) this.#refcounts.giveBack(offset);
      throw error;
    }
    if (kept === undefined) this.#released.push(...entry.clusters);
    this.#changeEntry(index, at);
    writeOwnEntry(this.#geometry, bytes, at, offset);
    return place;
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
    if (!this.#hasChanged) {
      // What was only looked at is let go of; data that was written over shows already.
      await this.#tables.write();
      if (this.#hasBegun) await this.#file.sync();
      return;
    }
    // A reader takes what an entry leads to behind the end for a file that is cut off.
    if (!this.#file.isDevice && this.#file.size < this.#refcounts.endOffset)
      await this.#file.resize(this.#refcounts.endOffset);
    const replaced = await this.#refcounts.write();
    await this.#file.sync();
    await this.#tables.write();
    await this.#file.sync();
    this.#hasChanged = false;
    // Once at most, also when this fails and is called again: else clusters leak, which is better than to be counted wrong.
    const released = [...this.#released, ...replaced];
    this.#released = [];
    const free = released.filter((offset) => this.#refcounts.release(offset) === 0);
    await this.#refcounts.write();
    for (const { offset, length } of runs(free, this.clusterSize)) this.#file.zero(offset, length);
    this.#refcounts.reuse(free);
  }

  /** Whatever a newer QEMU keeps in the image for itself would not be true any more. */
  #begin(): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    clearUnknownAutoclear(this.#file, this.#header);
  }

  #runAt(table: Buffer, at: number): Omit<GuestRun, 'count'> {
    const { own, isWhole, isZero, isUnallocated } = readEntry(this.#geometry, table, at);
    if (own !== undefined && isWhole) return { kind: 'data', offset: own };
    return { kind: isZero ? 'zero' : isUnallocated ? 'unallocated' : 'other', offset: 0 };
  }

  #changeEntry(index: number, at: number): void {
    this.#hasChanged = true;
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
