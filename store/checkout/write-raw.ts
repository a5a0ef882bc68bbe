import type { PendingFile } from '../../files/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { Monitor } from '../progress.ts';
import { allClusters, clusterLength } from '../version/disk-source.ts';
import type { VersionDisk } from '../version/version.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import { type PlacedCluster, restoreClusters } from './restore.ts';

/** Writes a disk as a raw file, sparse where it is zeros. Returns the bytes of data written. */
export async function writeRaw(
  file: PendingFile,
  disk: VersionDisk,
  dataBytes: number,
  database: ObjectDatabase,
  workers: ClusterWorkers,
  monitor: Monitor,
): Promise<number> {
  await file.truncate(disk.virtualSize);
  return restoreClusters(placeAtGuestOffsets(database, disk), file, dataBytes, database, workers, monitor);
}

async function* placeAtGuestOffsets(
  database: ObjectDatabase,
  disk: VersionDisk,
): AsyncGenerator<PlacedCluster> {
  for await (const { cluster, id } of allClusters(database, disk)) {
    yield { id, length: clusterLength(disk, cluster), to: cluster * disk.clusterSize };
  }
}
