import type { PendingFile } from '../../files/index.ts';
import type { CompressionType, Qcow2Writer } from '../../qcow2/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import { orderedMap } from '../ordered-map.ts';
import { throwIfStopped } from '../progress.ts';
import { clusterLength } from '../version/disk-source.ts';
import type { VersionDisk } from '../version/version.ts';
import type { CompressedItem, StoredItem } from '../workers/jobs.ts';
import { locateStored, withLocated } from '../workers/stored-stream.ts';
import type { CheckoutJob, ImageCluster } from './job.ts';

/** Bytes of clusters that one job compresses. */
const JOB_BYTES = 1024 * 1024;
/** Clusters of a job, where many are zeros. */
const JOB_CLUSTERS = 4096;
/** What qemu-img uses: about the best size for the time. */
const LEVELS: Readonly<Record<CompressionType, number>> = { zlib: 6, zstd: 3 };

/** Neighbours in an image, and the stored ones among them. */
interface Batch {
  readonly clusters: readonly ImageCluster[];
  readonly items: readonly StoredItem[];
}

/** A batch whose stored clusters lie in `output` as the image will have them. */
interface CompressedBatch extends Batch {
  readonly made: readonly CompressedItem[];
  readonly output: SharedArrayBuffer;
}

/**
 * Writes stored clusters to a qcow2 file, compressed where that makes them shorter: workers read, inflate, check and compress, this thread gives each its
 * place in guest order and writes it. Memory is that of a few batches for each worker. Returns the number of bytes of guest data written.
 * @throws ImgstoreError `DAMAGED`, `IO`
 */
export async function restoreCompressed(
  job: CheckoutJob,
  file: PendingFile,
  writer: Qcow2Writer,
  clusters: AsyncIterable<ImageCluster>,
  type: CompressionType,
): Promise<number> {
  const { store, disk, workers, monitor } = job;
  const { clusterSize } = disk;
  const total = job.clusters * clusterSize;
  const buffers: SharedArrayBuffer[] = [];
  const compress = async (batch: Batch): Promise<CompressedBatch> => {
    const output = buffers.pop() ?? new SharedArrayBuffer(JOB_BYTES + clusterSize);
    const { items } = batch;
    const made =
      items.length === 0
        ? []
        : await withLocated(store.objects, items, (located) =>
            workers.compress({ items: located, clusterSize, type, level: LEVELS[type], output }),
          );
    return { ...batch, made, output };
  };
  let written = 0;
  const batches = gather(clusters, store.objects, disk);
  for await (const batch of orderedMap(batches, 2 * workers.threads + 1, compress)) {
    throwIfStopped(monitor);
    await writeBatch(writer, file, batch);
    buffers.push(batch.output);
    for (const { length } of batch.items) written += length;
    monitor.onProgress?.({ done: written, total });
  }
  return written;
}

async function* gather(
  clusters: AsyncIterable<ImageCluster>,
  database: ObjectDatabase,
  disk: VersionDisk,
): AsyncGenerator<Batch> {
  let batch: ImageCluster[] = [];
  let items: StoredItem[] = [];
  let bytes = 0;
  for await (const entry of clusters) {
    batch.push(entry);
    if (entry.id !== undefined) {
      const length = clusterLength(disk, entry.cluster);
      items.push({ id: entry.id, stored: locateStored(database, entry.id), length });
      bytes += length;
    }
    if (bytes < JOB_BYTES && batch.length < JOB_CLUSTERS) continue;
    yield { clusters: batch, items };
    batch = [];
    items = [];
    bytes = 0;
  }
  if (batch.length > 0) yield { clusters: batch, items };
}

/** Gives the clusters of a batch their places and writes them; neighbours in the file go out in one write. */
async function writeBatch(
  writer: Qcow2Writer,
  file: PendingFile,
  { clusters, made, output }: CompressedBatch,
): Promise<void> {
  /** Bytes of the output that follow each other in the file too, and where they go there. */
  let from = 0;
  let to = 0;
  let place = 0;
  const flush = async () => {
    if (to > from) await file.write(place, new Uint8Array(output, from, to - from));
  };
  let next = 0;
  for (const { cluster, id } of clusters) {
    if (id === undefined) {
      await writer.zero(cluster, 1);
      continue;
    }
    const { length, compressed } = made[next++]!;
    const offset = compressed
      ? await writer.placeCompressed(cluster, length)
      : await writer.allocate(cluster);
    if (offset !== place + (to - from)) {
      await flush();
      from = to;
      place = offset;
    }
    to += length;
  }
  await flush();
}
