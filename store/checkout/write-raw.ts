import { ImgstoreError } from '../../errors/index.ts';
import type { PendingFile } from '../../files/index.ts';
import { clusterLength } from '../version/disk-source.ts';
import { type CheckoutJob, jobClusters } from './job.ts';
import { type PlacedCluster, restoreClusters } from './restore.ts';

/** Writes a disk as a raw file, sparse where it is zeros. Returns the bytes of data written. */
export async function writeRaw(job: CheckoutJob, file: PendingFile): Promise<number> {
  await takeLength(job, file);
  return restoreClusters(job, file, placeAtGuestOffsets(job));
}

async function takeLength({ path, disk }: CheckoutJob, file: PendingFile): Promise<void> {
  try {
    await file.truncate(disk.virtualSize);
  } catch (error) {
    if (!(error instanceof ImgstoreError) || error.data.system !== 'EFBIG') throw error;
    throw new ImgstoreError(
      'IO',
      `${path}: the file system has no files of ${disk.virtualSize} bytes: use --format qcow2`,
      { path, size: disk.virtualSize },
      error,
    );
  }
}

async function* placeAtGuestOffsets(job: CheckoutJob): AsyncGenerator<PlacedCluster> {
  const { disk } = job;
  for await (const { cluster, id } of jobClusters(job)) {
    yield { cluster, id, length: clusterLength(disk, cluster), to: cluster * disk.clusterSize };
  }
}
