import { clusterCount } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { ClusterCounter } from './count.ts';
import { allClusters, clusterLength } from './disk-source.ts';
import { refuseBeyondEnd } from './map-errors.ts';
import type { VersionDisk } from './version.ts';

/** Bytes in the clusters of a disk that are not zeros. @throws ImgstoreError `DAMAGED`, `NOT_FOUND` naming version and disk */
export async function dataBytes(
  database: ObjectDatabase,
  disk: VersionDisk,
  counter: ClusterCounter,
): Promise<number> {
  await refuseBeyondEnd(database, disk);
  const last = clusterCount(disk.virtualSize, disk.clusterSize) - 1;
  let bytes = (await counter.count(disk)) * disk.clusterSize;
  if (last >= 0)
    for await (const { cluster } of allClusters(database, disk, last))
      bytes -= disk.clusterSize - clusterLength(disk, cluster);
  return bytes;
}
