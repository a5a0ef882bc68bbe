import type { BlockSource, FilePiece } from '../block/index.ts';
import { clusterLength } from './version/disk-source.ts';
import type { ClusterBatch, FileBatch } from './workers/ingest-job.ts';

/** Bytes of guest data that travel together: long enough to hide the trip to a thread, short enough to keep many in flight. */
export const BATCH_BYTES = 4 * 1024 * 1024;

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

/** A batch whose clusters can be read. */
export type DiskBatch = (ClusterBatch | FileBatch) & {
  /** Numbers of the clusters in it, ascending. */
  readonly clusters: readonly number[];
};

/** Buffers for batches, each used again for later ones; shared, so that threads see them without a copy. */
export class BatchBuffers {
  readonly #bytes: number;
  readonly #free: SharedArrayBuffer[] = [];

  /** @param bytes of each */
  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  /** Buffers that any plan of {@link planBatches} fits into. */
  static forReading(clusterSize: number): BatchBuffers {
    return new BatchBuffers(Math.max(BATCH_BYTES, clusterSize));
  }

  take(): SharedArrayBuffer {
    return this.#free.pop() ?? new SharedArrayBuffer(this.#bytes);
  }

  /** @param buffer that nobody uses any more */
  giveBack(buffer: SharedArrayBuffer | undefined): void {
    if (buffer !== undefined) this.#free.push(buffer);
  }
}

/** Makes the clusters of a plan readable for a thread: where they lie as they are in files it reads them by itself, while they are in its cache, else they are read into a buffer here. */
export async function openBatch(
  source: BlockSource,
  plan: BatchPlan,
  clusterSize: number,
  buffers: BatchBuffers,
): Promise<DiskBatch> {
  const ranges = plan.map(({ first, count }) => {
    const last = clusterLength({ virtualSize: source.size, clusterSize }, first + count - 1);
    return { offset: first * clusterSize, length: (count - 1) * clusterSize + last };
  });
  const clusters = plan.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
  const length = ranges.reduce((sum, range) => sum + range.length, 0);
  const pieces = await locateRanges(source, ranges);
  if (pieces !== undefined) return { pieces, length, clusterSize, clusters };
  const buffer = buffers.take();
  let at = 0;
  for (const range of ranges) {
    await source.read(range.offset, new Uint8Array(buffer, at, range.length));
    at += range.length;
  }
  return { buffer, length, clusterSize, clusters };
}

/** Gives back the buffer of a batch that was read into one. */
export function closeBatch(batch: DiskBatch, buffers: BatchBuffers): void {
  if ('buffer' in batch) buffers.giveBack(batch.buffer);
}

interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

async function locateRanges(
  source: BlockSource,
  ranges: readonly ByteRange[],
): Promise<FilePiece[] | undefined> {
  const all: FilePiece[] = [];
  for (const { offset, length } of ranges) {
    const pieces = await source.locate?.(offset, length);
    if (pieces === undefined) return undefined;
    all.push(...pieces);
  }
  return all;
}
