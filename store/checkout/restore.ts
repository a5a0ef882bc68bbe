import type { PendingFile } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { orderedMap } from '../ordered-map.ts';
import { throwIfStopped } from '../progress.ts';
import type { RestoreItem } from '../workers/jobs.ts';
import { locateStored, type StoredStream, withLocated } from '../workers/stored-stream.ts';
import { isDamage } from './damage.ts';
import type { CheckoutJob } from './job.ts';

/** Bytes of clusters that one job writes. */
const JOB_BYTES = 2 * 1024 * 1024;

/** A stored cluster and where it goes in the output file. */
export interface PlacedCluster {
  /** Its number in the disk. */
  readonly cluster: number;
  readonly id: ObjectId;
  /** Bytes. */
  readonly length: number;
  /** Offset in the output file. */
  readonly to: number;
}

/**
 * Writes stored clusters to a file: workers read, inflate, check and write on their own, each at its offset, so no data passes through this
 * thread. Returns the number of bytes written.
 * @throws ImgstoreError `DAMAGED`, `IO`
 */
export async function restoreClusters(
  job: CheckoutJob,
  file: PendingFile,
  clusters: AsyncIterable<PlacedCluster>,
): Promise<number> {
  const { disk, workers, monitor } = job;
  const total = job.clusters * disk.clusterSize;
  let written = 0;
  const restore = (items: readonly NumberedItem[]) => restoreBatch(job, file, items);
  for await (const bytes of orderedMap(gather(job, clusters), 2 * workers.threads + 1, restore)) {
    throwIfStopped(monitor);
    written += bytes;
    monitor.onProgress?.({ done: written, total });
  }
  return written;
}

/** Returns the number of bytes written. What cannot be read stays a hole in the file, where damage is noted. */
async function restoreBatch(
  { store, path, disk, workers, damage }: CheckoutJob,
  file: PendingFile,
  items: readonly NumberedItem[],
): Promise<number> {
  const restore = async (some: readonly NumberedItem[]) => {
    await withLocated(store.objects, some, (located) =>
      workers.restore({ fd: file.fd, path, items: located }),
    );
    return some.reduce((sum, { length }) => sum + length, 0);
  };
  try {
    return await restore(items);
  } catch (error) {
    if (damage === undefined || !isDamage(error)) throw error;
  }
  let written = 0;
  for (const item of items) {
    try {
      written += await restore([item]);
    } catch (error) {
      if (!isDamage(error)) throw error;
      damage.addCluster({ path, disk }, item.cluster, error);
    }
  }
  return written;
}

interface NumberedItem extends RestoreItem {
  readonly cluster: number;
}

async function* gather(
  job: CheckoutJob,
  clusters: AsyncIterable<PlacedCluster>,
): AsyncGenerator<readonly NumberedItem[]> {
  let items: NumberedItem[] = [];
  let bytes = 0;
  for await (const placed of clusters) {
    const stored = locateOrSkip(job, placed);
    if (stored === undefined) continue;
    items.push({ ...placed, stored });
    bytes += placed.length;
    if (bytes < JOB_BYTES) continue;
    yield items;
    items = [];
    bytes = 0;
  }
  if (items.length > 0) yield items;
}

/** Where a cluster is; undefined for one that is nowhere, where damage is noted. @throws ImgstoreError `DAMAGED`, `NOT_FOUND` */
export function locateOrSkip(
  job: CheckoutJob,
  { cluster, id }: { readonly cluster: number; readonly id: ObjectId },
): StoredStream | undefined {
  try {
    return locateStored(job.store.objects, id);
  } catch (error) {
    if (job.damage === undefined || !isDamage(error)) throw error;
    job.damage.addCluster(job, cluster, error);
    return undefined;
  }
}
