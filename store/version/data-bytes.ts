import { clusterCount } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { ClusterCounter } from './count.ts';
import { allClusters, clusterLength } from './disk-source.ts';
import type { VersionDisk } from './version.ts';

/** Bytes in the clusters of a disk that are not zeros. */
export async function dataBytes(
  database: ObjectDatabase,
  disk: VersionDisk,
  counter: ClusterCounter,
): Promise<number> {
  const last = clusterCount(disk.virtualSize, disk.clusterSize) - 1;
  let bytes = (await counter.count(disk.map)) * disk.clusterSize;
  if (last >= 0)
    for await (const { cluster } of allClusters(database, disk, last))
      bytes -= disk.clusterSize - clusterLength(disk, cluster);
  return bytes;
}
