import type { PendingFile } from '../../files/index.ts';
import { allClusters, clusterLength } from '../version/disk-source.ts';
import type { CheckoutJob } from './job.ts';
import { type PlacedCluster, restoreClusters } from './restore.ts';

/** Writes a disk as a raw file, sparse where it is zeros. Returns the bytes of data written. */
export async function writeRaw(job: CheckoutJob, file: PendingFile): Promise<number> {
  await file.truncate(job.disk.virtualSize);
  return restoreClusters(job, file, placeAtGuestOffsets(job));
}

async function* placeAtGuestOffsets({ store, disk }: CheckoutJob): AsyncGenerator<PlacedCluster> {
  for await (const { cluster, id } of allClusters(store.objects, disk)) {
    yield { id, length: clusterLength(disk, cluster), to: cluster * disk.clusterSize };
  }
}
