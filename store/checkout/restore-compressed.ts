import type { PendingFile } from '../../files/index.ts';
import type { CompressionType, Qcow2Writer } from '../../qcow2/index.ts';
import { brought } from '../objects/brought.ts';
import { orderedMap } from '../ordered-map.ts';
import { throwIfStopped } from '../progress.ts';
import { clusterLength } from '../version/disk-source.ts';
import type { CompressedItem, StoredItem } from '../workers/jobs.ts';
import { withLocated } from '../workers/stored-stream.ts';
import { isDamage } from './damage.ts';
import type { CheckoutJob, ImageCluster } from './job.ts';
import { locateOrSkip } from './restore.ts';

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
  const { disk, workers, monitor } = job;
  const { clusterSize } = disk;
  const total = job.clusters * clusterSize;
  const buffers: SharedArrayBuffer[] = [];
  const compress = async (batch: Batch): Promise<CompressedBatch> => {
    const output = buffers.pop() ?? new SharedArrayBuffer(JOB_BYTES + clusterSize);
    const run = (items: readonly StoredItem[]) =>
      workers.compress({ items, clusterSize, type, level: LEVELS[type], output });
    return { ...(await compressBatch(job, batch, run)), output };
  };
  let written = 0;
  const batches = gather(job, clusters);
  for await (const batch of orderedMap(batches, 2 * workers.threads + 1, compress)) {
    throwIfStopped(monitor);
    await writeBatch(writer, file, batch);
    buffers.push(batch.output);
    for (const { length } of batch.items) written += length;
    monitor.onProgress?.({ done: written, total });
  }
  return written;
}

type Compressed = Omit<CompressedBatch, 'output'>;

/** Compresses what a batch holds. What cannot be read becomes zeros, where damage is noted. */
async function compressBatch(
  job: CheckoutJob,
  batch: Batch,
  run: (items: readonly StoredItem[]) => Promise<CompressedItem[]>,
): Promise<Compressed> {
  const { items } = batch;
  const compress = (some: readonly StoredItem[]) => withLocated(job.store.objects, some, run);
  if (items.length === 0) return { ...batch, made: [] };
  try {
    return { ...batch, made: await compress(items) };
  } catch (error) {
    if (job.damage === undefined || !isDamage(error)) throw error;
  }
  const clusters: ImageCluster[] = [];
  const whole: StoredItem[] = [];
  let next = 0;
  for (const entry of batch.clusters) {
    const item = entry.id === undefined ? undefined : items[next++]!;
    try {
      if (item !== undefined) await compress([item]);
      if (item !== undefined) whole.push(item);
      clusters.push(entry);
    } catch (error) {
      if (!isDamage(error)) throw error;
      job.damage.addCluster(job, entry.cluster, error);
      clusters.push({ ...entry, id: undefined });
    }
  }
  return { clusters, items: whole, made: whole.length === 0 ? [] : await compress(whole) };
}

async function* gather(job: CheckoutJob, clusters: AsyncIterable<ImageCluster>): AsyncGenerator<Batch> {
  let batch: ImageCluster[] = [];
  let items: StoredItem[] = [];
  let bytes = 0;
  for await (const { cluster, id } of brought(job.store.objects, clusters)) {
    const stored = id === undefined ? undefined : locateOrSkip(job, { cluster, id });
    batch.push({ cluster, id: stored === undefined ? undefined : id });
    if (id !== undefined && stored !== undefined) {
      const length = clusterLength(job.disk, cluster);
      items.push({ id, stored, length });
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
