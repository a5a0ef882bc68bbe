import { type BlockSource, checkRange, type Extent } from '../../block/index.ts';
import { isImgstoreError } from '../../errors/index.ts';
import type { MapLookup } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import { clusterLength, dataAndHoles, type StoredCluster } from '../version/disk-source.ts';
import { inDisk } from '../version/map-errors.ts';
import type { VersionDisk } from '../version/version.ts';
import type { ClusterCache, ClusterPart, WantedCluster } from './cluster-cache.ts';
import { ReadAhead } from './read-ahead.ts';

/** How far it is read ahead of a client that reads on and on, in bytes. */
const WINDOW_BYTES = 2 * 2 ** 20;

/** What versions are read through. */
export interface VersionReader {
  readonly objects: ObjectDatabase;
  readonly cache: ClusterCache;
  readonly maps: MapLookup;
}

/** A version's disk, read through a cache: as DiskSource, for many small reads. */
export class CachedDisk implements BlockSource {
  readonly size: number;
  readonly #reader: VersionReader;
  readonly #disk: VersionDisk;
  readonly #ahead: ReadAhead;
  /** Reads that are under way. */
  #reads = 0;

  constructor(reader: VersionReader, disk: VersionDisk) {
    this.#reader = reader;
    this.#disk = disk;
    this.#ahead = new ReadAhead(disk.virtualSize, WINDOW_BYTES);
    this.size = disk.virtualSize;
  }

  /** As `BlockSource.extents`. */
  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    try {
      yield* dataAndHoles(this.#disk.clusterSize, offset, length, this.#stored(offset, length));
    } catch (error) {
      throw inDisk(this.#disk, error);
    }
  }

  /** Whether nothing is stored in a range. @throws ImgstoreError `DAMAGED`, `NOT_FOUND` */
  isHole(offset: number, length: number): boolean {
    checkRange(this.size, offset, length);
    try {
      for (const _ of this.#stored(offset, length)) return false;
      return true;
    } catch (error) {
      throw inDisk(this.#disk, error);
    }
  }

  /** As `BlockSource.read`. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO` */
  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    this.#reads++;
    try {
      const waiting = this.#reader.cache.read(this.#parts(offset, into));
      // Who asks for several places at a time reads ahead by itself.
      const next = this.#reads > 1 ? undefined : this.#ahead.note(offset, into.length);
      if (next !== undefined) this.#readAhead(next.offset, next.length);
      if (waiting !== undefined) await waiting;
    } catch (error) {
      throw inDisk(this.#disk, error);
    } finally {
      this.#reads--;
    }
  }

  /** Reads a range that will be wanted soon, as far as there is room. Does not wait. */
  prefetch(offset: number, length: number): void {
    checkRange(this.size, offset, length);
    this.#reader.cache.prefetch(this.#wanted(offset, Math.min(length, MOST_PREFETCHED)));
  }

  /** Nobody has asked for it yet: what is wrong there is said to whoever does. */
  #readAhead(offset: number, length: number): void {
    try {
      this.#reader.cache.prefetch(this.#wanted(offset, length));
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
    }
  }

  /** What is to be copied out of clusters; the rest of `into` becomes zeros. */
  #parts(offset: number, into: Uint8Array): ClusterPart[] {
    const { clusterSize } = this.#disk;
    const parts: ClusterPart[] = [];
    let filled = 0;
    for (const { cluster, id } of this.#stored(offset, into.length)) {
      const start = cluster * clusterSize - offset;
      const length = clusterLength(this.#disk, cluster);
      const part = into.subarray(Math.max(start, 0), start + length);
      if (start > filled) into.fill(0, filled, start);
      filled = start + length;
      parts.push({ id, length, from: Math.max(-start, 0), into: part });
    }
    if (filled < into.length) into.fill(0, filled);
    return parts;
  }

  #wanted(offset: number, length: number): WantedCluster[] {
    const clusters = [...this.#stored(offset, length)];
    return clusters.map(({ cluster, id }) => ({ id, length: clusterLength(this.#disk, cluster) }));
  }

  /** There is nothing of its own to give back. */
  async close(): Promise<void> {}

  /** The stored clusters that lie in a range of bytes, in order. */
  #stored(offset: number, length: number): Iterable<StoredCluster> {
    const { clusterSize, map } = this.#disk;
    const first = Math.floor(offset / clusterSize);
    const end = Math.ceil((offset + length) / clusterSize);
    return length === 0 ? [] : this.#reader.maps.clusters(map, first, end);
  }
}

/** Bytes that one request makes be read ahead, at most: it may be for 4 GiB. */
const MOST_PREFETCHED = 32 * 2 ** 20;
