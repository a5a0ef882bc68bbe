import {
  clusterCount,
  clustersPerSlot,
  MapEditor,
  type MapRoot,
  mapLevels,
  type ObjectId,
  walkMap,
} from '../../objects/index.ts';
import type { ClusterRun } from '../batches.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';

/** A disk that the store holds. */
export interface HeldDisk {
  /** Bytes. */
  readonly virtualSize: number;
  readonly map: MapRoot;
  /** Clusters that hold data. */
  readonly clusters: number;
}

/** Clusters that were read, ascending. */
export interface ReadClusters {
  readonly clusters: readonly number[];
  /** For each; undefined for zeros. */
  readonly ids: readonly (ObjectId | undefined)[];
}

/** Makes the cluster map of a disk: out of nothing, or out of that of another disk and what differs. Changes come in ascending order. */
export class DiskMap {
  readonly #database: ObjectDatabase;
  readonly #editor: MapEditor;
  readonly #levels: number;
  readonly #base: HeldDisk | undefined;
  /** Number of clusters on the disk. */
  readonly #end: number;
  #held: number;

  /**
   * @param transaction what the map's nodes go into
   * @param virtualSize of the new disk, in bytes
   * @param base all of whose nodes are in the database
   */
  constructor(
    database: ObjectDatabase,
    transaction: ObjectTransaction,
    virtualSize: number,
    clusterSize: number,
    base: HeldDisk | undefined,
  ) {
    this.#database = database;
    this.#end = clusterCount(virtualSize, clusterSize);
    this.#levels = mapLevels(this.#end);
    this.#base = base;
    this.#held = base?.clusters ?? 0;
    const write = (data: Uint8Array) => transaction.put('tree', data);
    this.#editor = new MapEditor(database.readTree, write, this.#levels, base?.map);
  }

  /**
   * Enters clusters that were read, and clears others.
   * @param cleared runs, ascending, of clusters that were not read
   * @throws ImgstoreError `DAMAGED` or `NOT_FOUND` for a node of the base
   */
  async change({ clusters, ids }: ReadClusters, cleared: readonly ClusterRun[] = []): Promise<void> {
    let next = 0;
    const setUpTo = async (end: number) => {
      for (; next < clusters.length && clusters[next]! < end; next++)
        await this.#set(clusters[next]!, ids[next]);
    };
    for (const { first, count } of cleared) {
      for await (const cluster of this.#heldWithin(first, first + count)) {
        await setUpTo(cluster);
        await this.#set(cluster, undefined);
      }
    }
    await setUpTo(Number.POSITIVE_INFINITY);
  }

  /** Takes out what the base has behind the end of the disk, and writes what is still open. */
  async finish(): Promise<Pick<HeldDisk, 'map' | 'clusters'>> {
    const room = clustersPerSlot(this.#levels + 1);
    for await (const cluster of this.#heldWithin(this.#end, Number.MAX_SAFE_INTEGER)) {
      // What a lower map has no room for is left out by the editor.
      if (cluster < room) await this.#set(cluster, undefined);
      else this.#held--;
    }
    return { map: { id: await this.#editor.finish(), levels: this.#levels }, clusters: this.#held };
  }

  async #set(cluster: number, id: ObjectId | undefined): Promise<void> {
    // A disk that begins with nothing has nothing to clear, and no node is made for that.
    if (id === undefined && this.#base === undefined) return;
    const was = await this.#editor.set(cluster, id);
    this.#held += (id === undefined ? 0 : 1) - (was === undefined ? 0 : 1);
  }

  /** The clusters of the base within [from, to) that hold data, ascending. */
  async *#heldWithin(from: number, to: number): AsyncGenerator<number> {
    if (this.#base === undefined) return;
    for await (const { first, node } of walkMap(this.#database.readTree, this.#base.map, from, to)) {
      for (const [slot, id] of node.entries()) {
        const cluster = first + slot;
        if (id !== undefined && cluster >= from && cluster < to) yield cluster;
      }
    }
  }
}
