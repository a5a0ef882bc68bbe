import type { ObjectId } from '../../../objects/index.ts';
import { orderedMap } from '../../ordered-map.ts';
import { throwIfStopped } from '../../progress.ts';
import type { PatchItem, PatchPiece } from '../../workers/patch-job.ts';
import { locateStored, withLocated } from '../../workers/stored-stream.ts';
import type { InPlaceJob } from './job.ts';

/** Bytes of clusters that one job writes. */
const JOB_BYTES = 2 * 1024 * 1024;

/** A stored cluster and where its parts go in the target's file. */
export interface PatchedCluster {
  readonly id: ObjectId;
  /** Bytes. */
  readonly length: number;
  readonly pieces: readonly PatchPiece[];
}

/** Writes stored clusters over what a target holds: workers read, inflate, check, compare and write on their own. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO` */
export async function patchClusters(job: InPlaceJob, clusters: AsyncIterable<PatchedCluster>): Promise<void> {
  const { store, target, workers, monitor, counts } = job;
  const { file, path } = target;
  const patch = (items: readonly PatchItem[]) => {
    file.noteChange();
    return withLocated(store.objects, items, (located) =>
      workers.patch({ fd: file.fd, path, items: located }),
    );
  };
  for await (const bytes of orderedMap(gather(job, clusters), 2 * workers.threads + 1, patch)) {
    throwIfStopped(monitor);
    counts.writtenBytes += bytes;
  }
}

async function* gather(
  { store }: InPlaceJob,
  clusters: AsyncIterable<PatchedCluster>,
): AsyncGenerator<readonly PatchItem[]> {
  const locate = async (batch: readonly PatchedCluster[]) => {
    await store.objects.bring(batch.map(({ id }) => id));
    return batch.map((cluster) => ({ ...cluster, stored: locateStored(store.objects, cluster.id) }));
  };
  let batch: PatchedCluster[] = [];
  let bytes = 0;
  for await (const cluster of clusters) {
    batch.push(cluster);
    bytes += cluster.length;
    if (bytes < JOB_BYTES) continue;
    yield await locate(batch);
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield await locate(batch);
}
