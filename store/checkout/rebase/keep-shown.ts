import { clusterCount } from '../../../objects/index.ts';
import { ImageUpdate, type Qcow2Header } from '../../../qcow2/index.ts';
import { throwIfStopped } from '../../progress.ts';
import { clusterLength } from '../../version/disk-source.ts';
import { diffDiskMaps } from '../../version/map-errors.ts';
import type { VersionDisk } from '../../version/version.ts';
import type { InPlaceJob } from '../in-place/job.ts';
import { type PatchedCluster, patchClusters } from '../in-place/patch.ts';
import type { ImageCluster } from '../job.ts';

/** What a base shows where another one shows something else. @throws ImgstoreError `DAMAGED`, `NOT_FOUND` */
export async function* shownOtherwise(
  { store, disk }: Pick<InPlaceJob, 'store' | 'disk'>,
  other: VersionDisk,
): AsyncGenerator<ImageCluster> {
  for await (const { cluster, before } of diffDiskMaps(store.objects, disk, other))
    yield { cluster, id: before };
}

/**
 * Copies clusters of its base into an overlay that does not hold them, so that it can go without that base. Only the overlay's tables are read.
 * @param job its disk is the base; clusters are as large as the overlay's
 * @param clusters in order: what the base shows there
 * @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO`
 */
export async function keepShown(
  job: InPlaceJob,
  header: Qcow2Header,
  clusters: AsyncIterable<ImageCluster>,
): Promise<void> {
  const { disk, target, monitor } = job;
  const update = new ImageUpdate(target.file, header, target.path);
  const end = clusterCount(header.virtualSize, update.clusterSize);
  const changes = clusters[Symbol.asyncIterator]();
  let isDone = false;
  const copied = async function* (): AsyncGenerator<PatchedCluster> {
    while (!update.isFull) {
      throwIfStopped(monitor);
      const { value: change, done } = await changes.next();
      if (done || change.cluster >= end) {
        isDone = true;
        return;
      }
      const { cluster, id } = change;
      if (!update.isUnallocated(cluster)) continue;
      const place = id === undefined ? update.zero(cluster) : update.place(cluster);
      if (place === undefined) continue;
      const length = id === undefined ? 0 : clusterLength(disk, cluster);
      // What follows the disk's end, or all where zeros must be written, is to be zeros too.
      if (place.isUsed) target.file.zero(place.offset + length, update.clusterSize - length);
      if (id !== undefined)
        yield { id, length, pieces: [{ from: 0, length, to: place.offset, isNew: true }] };
    }
  };
  try {
    while (!isDone) {
      await patchClusters(job, copied());
      await update.apply();
    }
  } finally {
    await changes.return?.(undefined);
  }
}
