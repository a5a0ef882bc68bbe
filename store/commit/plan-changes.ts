import type { ComparedExtent } from '../../block/index.ts';
import { BATCH_BYTES, type BatchPlan, type ClusterRun } from '../batches.ts';

/** A part of the changes of a disk. Parts come in order: no cluster of one lies before one of an earlier part. */
export interface ChangePlan {
  /** Clusters that must be read, ascending. */
  readonly read: BatchPlan;
  /** Clusters that are zeros now, ascending; none of them is in {@link read}. */
  readonly cleared: readonly ClusterRun[];
}

/** Two disks that are laid beside each other. Sizes in bytes. */
export interface ComparedDisks {
  /** Of the disk that is new. */
  readonly size: number;
  /** Of the disk that is known. */
  readonly knownSize: number;
  readonly clusterSize: number;
}

/** A fragmented disk may have a zero cluster at every second place. */
const MOST_CLEARED_RUNS = 4096;

/** Neighbouring clusters with one fate. */
interface ChangedRun extends ClusterRun {
  readonly isRead: boolean;
}

/**
 * The clusters in which a disk may differ from a known one, from its extents beside that, in parts that are read in batches of at most 4 MiB. Clusters of zeros are
 * not read, nor are those behind the end, which the known disk may have.
 */
export async function* planChanges(
  extents: AsyncIterable<ComparedExtent>,
  disks: ComparedDisks,
): AsyncGenerator<ChangePlan> {
  const perBatch = Math.max(1, Math.floor(BATCH_BYTES / disks.clusterSize));
  let read: ClusterRun[] = [];
  let cleared: ClusterRun[] = [];
  let planned = 0;
  for await (let { first, count, isRead } of changedRuns(extents, disks)) {
    if (!isRead) cleared.push({ first, count });
    while (isRead && count > 0) {
      const taken = Math.min(count, perBatch - planned);
      read.push({ first, count: taken });
      planned += taken;
      first += taken;
      count -= taken;
      if (planned < perBatch) continue;
      yield { read, cleared };
      [read, cleared, planned] = [[], [], 0];
    }
    if (cleared.length < MOST_CLEARED_RUNS) continue;
    yield { read, cleared };
    [read, cleared, planned] = [[], [], 0];
  }
  if (planned > 0 || cleared.length > 0) yield { read, cleared };
}

/** Runs of clusters that are not all `same`, ascending. One that is zeros only in part must be read: the rest of it may be anything. */
async function* changedRuns(
  extents: AsyncIterable<ComparedExtent>,
  { size, knownSize, clusterSize }: ComparedDisks,
): AsyncGenerator<ChangedRun> {
  let next = 0;
  const take = (first: number, end: number, isRead: boolean): ChangedRun[] => {
    const from = Math.max(next, first);
    if (end <= from) return [];
    next = end;
    return [{ first: from, count: end - from, isRead }];
  };
  for await (const { offset, length, kind } of joinZeros(extents)) {
    const end = offset + length;
    const [outerFirst, outerEnd] = [Math.floor(offset / clusterSize), Math.ceil(end / clusterSize)];
    if (kind === 'data') {
      yield* take(outerFirst, outerEnd, true);
    } else if (kind === 'same') {
      // The last cluster is as long as the disk goes: where the known disk goes on, it is another one there.
      if (end === size && knownSize > size && size % clusterSize !== 0)
        yield* take(outerEnd - 1, outerEnd, true);
    } else {
      const innerFirst = Math.ceil(offset / clusterSize);
      const innerEnd = end === size ? outerEnd : Math.floor(end / clusterSize);
      yield* take(outerFirst, innerFirst, true);
      yield* take(innerFirst, innerEnd, false);
      yield* take(innerEnd, outerEnd, true);
    }
  }
}

/** Makes one `zero` extent of neighbours that read as zeros, for whatever reason. */
async function* joinZeros(extents: AsyncIterable<ComparedExtent>): AsyncGenerator<ComparedExtent> {
  let zeros: ComparedExtent | undefined;
  for await (const extent of extents) {
    if (extent.kind === 'zero' || extent.kind === 'hole') {
      const offset = zeros?.offset ?? extent.offset;
      zeros = { offset, length: extent.offset + extent.length - offset, kind: 'zero' };
      continue;
    }
    if (zeros !== undefined) yield zeros;
    zeros = undefined;
    yield extent;
  }
  if (zeros !== undefined) yield zeros;
}
