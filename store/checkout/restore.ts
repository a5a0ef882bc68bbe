import type { PendingFile } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import { orderedMap } from '../ordered-map.ts';
import { throwIfStopped } from '../progress.ts';
import type { RestoreItem } from '../workers/jobs.ts';
import { locateStored, withLocated } from '../workers/stored-stream.ts';
import type { CheckoutJob } from './job.ts';

/** Bytes of clusters that one job writes. */
const JOB_BYTES = 2 * 1024 * 1024;

/** A stored cluster and where it goes in the output file. */
export interface PlacedCluster {
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
  { store, disk, path, workers, monitor, clusters: expected }: CheckoutJob,
  file: PendingFile,
  clusters: AsyncIterable<PlacedCluster>,
): Promise<number> {
  const total = expected * disk.clusterSize;
  let written = 0;
  const restore = async ({ items, bytes }: RestoreBatch) => {
    await withLocated(store.objects, items, (located) =>
      workers.restore({ fd: file.fd, path, items: located }),
    );
    return bytes;
  };
  for await (const bytes of orderedMap(gather(clusters, store.objects), 2 * workers.threads + 1, restore)) {
    throwIfStopped(monitor);
    written += bytes;
    monitor.onProgress?.({ done: written, total });
  }
  return written;
}

interface RestoreBatch {
  readonly items: readonly RestoreItem[];
  readonly bytes: number;
}

async function* gather(
  clusters: AsyncIterable<PlacedCluster>,
  database: ObjectDatabase,
): AsyncGenerator<RestoreBatch> {
  let items: RestoreItem[] = [];
  let bytes = 0;
  for await (const { id, length, to } of clusters) {
    items.push({ id, stored: locateStored(database, id), length, to });
    bytes += length;
    if (bytes < JOB_BYTES) continue;
    yield { items, bytes };
    items = [];
    bytes = 0;
  }
  if (items.length > 0) yield { items, bytes };
}
