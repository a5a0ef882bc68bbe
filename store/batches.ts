import type { BlockSource } from '../block/index.ts';
import { clusterLength } from './version/disk-source.ts';
import type { ClusterBatch } from './workers/jobs.ts';

/** Bytes of guest data that travel together: long enough to hide the trip to a thread, short enough to keep many in flight. */
export const BATCH_BYTES = 2 * 1024 * 1024;

/** Neighbouring clusters. */
export interface ClusterRun {
  /** Number of the first cluster. */
  readonly first: number;
  readonly count: number;
}

/** Clusters to be read into one buffer, ascending. */
export type BatchPlan = readonly ClusterRun[];

/**
 * The clusters that hold any data, from the source's extents, cut and gathered into batches of at most {@link BATCH_BYTES}. Holes and zeros are never read.
 */
export async function* planBatches(source: BlockSource, clusterSize: number): AsyncGenerator<BatchPlan> {
  const perBatch = Math.max(1, Math.floor(BATCH_BYTES / clusterSize));
  let plan: ClusterRun[] = [];
  let planned = 0;
  for await (let { first, count } of dataRuns(source, clusterSize)) {
    while (count > 0) {
      const taken = Math.min(count, perBatch - planned);
      plan.push({ first, count: taken });
      planned += taken;
      first += taken;
      count -= taken;
      if (planned === perBatch) {
        yield plan;
        plan = [];
        planned = 0;
      }
    }
  }
  if (planned > 0) yield plan;
}

/** Runs of clusters that a data extent touches. Extents may begin and end within a cluster, so neighbours can share one. */
async function* dataRuns(source: BlockSource, clusterSize: number): AsyncGenerator<ClusterRun> {
  let next = 0;
  for await (const { offset, length, kind } of source.extents(0, source.size)) {
    if (kind !== 'data') continue;
    const first = Math.max(next, Math.floor(offset / clusterSize));
    const end = Math.ceil((offset + length) / clusterSize);
    if (end > first) yield { first, count: end - first };
    next = Math.max(next, end);
  }
}

/** A buffer that any plan of {@link planBatches} fits into; shared, so that threads see it without a copy. */
export function newBatchBuffer(clusterSize: number): SharedArrayBuffer {
  return new SharedArrayBuffer(Math.max(BATCH_BYTES, clusterSize));
}

/** A batch that was read. */
export interface ReadBatch extends ClusterBatch {
  /** Numbers of the clusters in the buffer, ascending. */
  readonly clusters: readonly number[];
}

/** Reads the clusters of a plan, one behind the other. */
export async function readBatch(
  source: BlockSource,
  plan: BatchPlan,
  clusterSize: number,
  buffer: SharedArrayBuffer,
): Promise<ReadBatch> {
  const clusters: number[] = [];
  let length = 0;
  for (const { first, count } of plan) {
    const last = clusterLength({ virtualSize: source.size, clusterSize }, first + count - 1);
    const bytes = (count - 1) * clusterSize + last;
    await source.read(first * clusterSize, new Uint8Array(buffer, length, bytes));
    length += bytes;
    for (let i = 0; i < count; i++) clusters.push(first + i);
  }
  return { buffer, length, clusterSize, clusters };
}
