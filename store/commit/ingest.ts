import type { BlockSource } from '../../block/index.ts';
import {
  clusterCount,
  MapEditor,
  type MapRoot,
  mapLevels,
  type ObjectId,
  storedLength,
} from '../../objects/index.ts';
import type { PackableObject } from '../../pack/index.ts';
import { type BatchPlan, newBatchBuffer, planBatches, type ReadBatch, readBatch } from '../batches.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';
import { orderedMap } from '../ordered-map.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import type { ClusterWorkers } from '../workers/pool.ts';

/** What reading a disk into the store came to. */
export interface IngestedDisk {
  readonly map: MapRoot;
  /** Clusters that hold data. */
  readonly clusters: number;
  /** Clusters that the store did not have. */
  readonly newClusters: number;
  /** Bytes read from the source. */
  readonly readBytes: number;
}

/**
 * Batches in flight beyond the two of each thread, one of which it works on: while the oldest is written, threads must not run out of work. With 5 instead of 1 a first commit took
 * 3.2 s instead of 4.3 (medians of four on two busy cores), for 16 MB.
 */
const SPARE_BATCHES = 5;

export interface IngestOptions {
  /** Bytes. */
  readonly clusterSize: number;
  /** zlib level. */
  readonly compression: number;
  readonly database: ObjectDatabase;
  readonly transaction: ObjectTransaction;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
  /** About how many bytes there are to read. */
  readonly expectedBytes: number;
}

/** What a batch is read into, and what it is deflated into; used again for later batches. */
interface BatchBuffers {
  readonly input: SharedArrayBuffer;
  readonly output: SharedArrayBuffer;
}

function newBuffers(clusterSize: number): BatchBuffers {
  const input = newBatchBuffer(clusterSize);
  const clusters = Math.ceil(input.byteLength / clusterSize);
  return { input, output: new SharedArrayBuffer(clusters * storedLength(clusterSize)) };
}

/** A batch whose new clusters are deflated. */
interface StoredBatch extends ReadBatch {
  /** For each cluster; undefined for zeros. */
  readonly ids: readonly (ObjectId | undefined)[];
  readonly fresh: readonly PackableObject[];
  /** What the streams of `fresh` lie in: they must be taken before it is used again. */
  readonly output: SharedArrayBuffer;
}

/**
 * Reads a disk into a transaction: extents → batches → read → hash (threads) → is it known? → deflate (threads) → pack and map. Several batches are in
 * flight, so reading, both kinds of work and writing overlap; memory is that of the batches.
 */
export async function ingestDisk(source: BlockSource, options: IngestOptions): Promise<IngestedDisk> {
  const { clusterSize, database, transaction, workers, monitor, expectedBytes } = options;
  const levels = mapLevels(clusterCount(source.size, clusterSize));
  const editor = new MapEditor(database.readTree, (data) => transaction.put('tree', data), levels);
  const buffers: BatchBuffers[] = [];
  const total = { clusters: 0, newClusters: 0, readBytes: 0 };

  const store = (plan: BatchPlan) =>
    storeBatch(source, plan, buffers.pop() ?? newBuffers(clusterSize), options);
  const width = 2 * workers.threads + SPARE_BATCHES;
  for await (const batch of orderedMap(planBatches(source, clusterSize), width, store)) {
    throwIfStopped(monitor);
    for (const object of batch.fresh) await transaction.add(object);
    for (const [i, cluster] of batch.clusters.entries()) {
      const id = batch.ids[i];
      if (id === undefined) continue;
      total.clusters++;
      await editor.set(cluster, id);
    }
    total.newClusters += batch.fresh.length;
    total.readBytes += batch.length;
    buffers.push({ input: batch.buffer, output: batch.output });
    monitor.onProgress?.({ done: total.readBytes, total: Math.max(total.readBytes, expectedBytes) });
  }
  return { map: { id: await editor.finish(), levels }, ...total };
}

async function storeBatch(
  source: BlockSource,
  plan: BatchPlan,
  { input, output }: BatchBuffers,
  { clusterSize, compression, transaction, workers }: IngestOptions,
): Promise<StoredBatch> {
  const batch = await readBatch(source, plan, clusterSize, input);
  const ids = await workers.digest(batch);
  // Claimed at once and in one go, so that two batches with the same cluster do not both store it.
  const picks = ids.flatMap((id, i) => (id !== undefined && transaction.claim(id) ? [i] : []));
  if (picks.length === 0) return { ...batch, ids, fresh: [], output };
  const ends = await workers.deflate({ ...batch, picks, level: compression, output });
  const streams = new Uint8Array(output);
  const fresh = picks.map((pick, i) => ({
    id: ids[pick]!,
    type: 'blob' as const,
    size: Math.min(clusterSize, batch.length - pick * clusterSize),
    deflated: streams.subarray(ends[i - 1] ?? 0, ends[i]),
  }));
  return { ...batch, ids, fresh, output };
}
