import { type BlockSource, checkRange, type Extent } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import { FAN_OUT, type ObjectId, type SkipNode, walkMap } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import { inDisk } from './map-errors.ts';
import type { VersionDisk } from './version.ts';

/** A disk of a version, read as any other disk. Absent clusters are zeros. */
export class DiskSource implements BlockSource {
  readonly size: number;
  readonly #database: ObjectDatabase;
  readonly #disk: VersionDisk;

  constructor(database: ObjectDatabase, disk: VersionDisk) {
    this.#database = database;
    this.#disk = disk;
    this.size = disk.virtualSize;
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    yield* dataAndHoles(this.#disk.clusterSize, offset, length, this.#clusters(offset, length));
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    const { clusterSize } = this.#disk;
    let filled = 0;
    const clusters: StoredCluster[] = [];
    for await (const cluster of this.#clusters(offset, into.length)) clusters.push(cluster);
    await this.#database.bring(clusters.map(({ id }) => id));
    for (const { cluster, id } of clusters) {
      const data = await readCluster(this.#database, this.#disk, cluster, id);
      const start = cluster * clusterSize - offset;
      const from = Math.max(0, -start);
      const to = Math.max(0, start);
      const part = data.subarray(from, from + into.length - to);
      into.fill(0, filled, to);
      into.set(part, to);
      filled = to + part.length;
    }
    into.fill(0, filled);
  }

  async close(): Promise<void> {}

  /** The stored clusters that lie in a range of bytes, in order. */
  async *#clusters(offset: number, length: number): AsyncGenerator<StoredCluster> {
    const first = Math.floor(offset / this.#disk.clusterSize);
    const end = Math.ceil((offset + length) / this.#disk.clusterSize);
    if (length > 0) yield* allClusters(this.#database, this.#disk, first, end);
  }
}

/**
 * The extents of a range: neighbouring clusters are joined, and between them are holes.
 * @param clusters that are stored in the range, in order
 */
export async function* dataAndHoles(
  clusterSize: number,
  offset: number,
  length: number,
  clusters: AsyncIterable<{ readonly cluster: number }> | Iterable<{ readonly cluster: number }>,
): AsyncGenerator<Extent> {
  const end = offset + length;
  // `at` is how far the map is known, `dataFrom` where the open data extent began.
  let at = offset;
  let dataFrom = offset;
  for await (const { cluster } of clusters) {
    const start = Math.max(cluster * clusterSize, offset);
    if (start > at) {
      if (at > dataFrom) yield { offset: dataFrom, length: at - dataFrom, kind: 'data' };
      yield { offset: at, length: start - at, kind: 'hole' };
      dataFrom = start;
    }
    at = Math.min((cluster + 1) * clusterSize, end);
  }
  if (at > dataFrom) yield { offset: dataFrom, length: at - dataFrom, kind: 'data' };
  if (end > at) yield { offset: at, length: end - at, kind: 'hole' };
}

/** A cluster that is not zeros. */
export interface StoredCluster {
  readonly cluster: number;
  readonly id: ObjectId;
}

/**
 * The stored clusters of a disk with numbers in [from, to), in order.
 * @param skip called for nodes of the map that cannot be read, whose clusters are left out; else they are thrown for
 * @throws ImgstoreError `DAMAGED`, `NOT_FOUND` naming version and disk
 */
export async function* allClusters(
  database: ObjectDatabase,
  disk: VersionDisk,
  from = 0,
  to = Number.MAX_SAFE_INTEGER,
  skip?: SkipNode,
): AsyncGenerator<StoredCluster> {
  try {
    for await (const { first, node } of walkMap(database.readTree, disk.map, from, to, skip)) {
      for (let slot = Math.max(0, from - first); slot < FAN_OUT && first + slot < to; slot++) {
        const id = node[slot];
        if (id !== undefined) yield { cluster: first + slot, id };
      }
    }
  } catch (error) {
    throw inDisk(disk, error);
  }
}

/** Length of a cluster in bytes: the last of a disk may be shorter. */
export function clusterLength(
  disk: { readonly virtualSize: number; readonly clusterSize: number },
  cluster: number,
): number {
  return Math.min(disk.clusterSize, disk.virtualSize - cluster * disk.clusterSize);
}

/** A cluster's bytes. @throws ImgstoreError `DAMAGED` when the blob is not as long as the cluster. */
async function readCluster(
  database: ObjectDatabase,
  disk: VersionDisk,
  cluster: number,
  id: ObjectId,
): Promise<Uint8Array> {
  try {
    const data = await database.readBroughtAs('blob', id);
    const length = clusterLength(disk, cluster);
    if (data.length === length) return data;
    const reason = `cluster ${cluster} is ${data.length} bytes long, not ${length}`;
    throw new ImgstoreError('DAMAGED', `object ${id}: ${reason}`, { cluster, id });
  } catch (error) {
    throw inDisk(disk, error);
  }
}
