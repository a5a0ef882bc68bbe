import type { MapRoot } from '../../objects/index.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { hasMap } from '../version/has-map.ts';
import { tryReadVersion } from '../version/version.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import { ingestDisk } from './ingest.ts';
import type { OpenDisk } from './open-disk.ts';

/** A disk whose clusters are in the store or in the transaction. */
export interface StoredDisk {
  readonly name: string;
  /** Bytes. */
  readonly virtualSize: number;
  readonly map: MapRoot;
  /** Clusters that hold data. */
  readonly clusters: number;
  readonly newClusters: number;
  /** Bytes read from the image; 0 when the stat cache knew it. */
  readonly readBytes: number;
}

/** Stores one disk: by the stat cache, when its files are as they were, else by reading it. */
export async function storeDisk(
  store: Store,
  name: string,
  disk: OpenDisk,
  transaction: ObjectTransaction,
  workers: ClusterWorkers,
  monitor: Monitor,
): Promise<StoredDisk> {
  const virtualSize = disk.source.size;
  const known = disk.files === undefined ? undefined : await store.statCache.get(disk.files);
  // The stat cache may outlive a version, or a part of its map: then it is worth nothing.
  const version = known === undefined ? undefined : tryReadVersion(store.objects, known.commit);
  const before = version?.disks.find((each) => each.name === known?.disk);
  if (
    known !== undefined &&
    before?.virtualSize === virtualSize &&
    before.clusterSize === store.clusterSize &&
    (await hasMap(store.objects, before.map))
  ) {
    return { name, virtualSize, map: before.map, clusters: known.clusters, newClusters: 0, readBytes: 0 };
  }
  const ingested = await ingestDisk(disk.source, {
    clusterSize: store.clusterSize,
    compression: store.compression,
    database: store.objects,
    expectedBytes: disk.expectedBytes,
    transaction,
    workers,
    monitor,
  });
  return { name, virtualSize, ...ingested };
}
