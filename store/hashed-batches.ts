import type { BlockSource } from '../block/index.ts';
import type { ObjectId } from '../objects/index.ts';
import { BatchBuffers, closeBatch, type DiskBatch, openBatch, planBatches } from './batches.ts';
import { orderedMap } from './ordered-map.ts';
import type { ClusterWorkers } from './workers/pool.ts';

/** Clusters with their ids. */
export interface HashedBatch {
  readonly batch: DiskBatch;
  /** For each cluster; undefined for zeros. */
  readonly ids: readonly (ObjectId | undefined)[];
}

/** Hashes the clusters of a disk that hold data, in order, on all cores. A batch holds until the next is asked for. */
export async function* hashBatches(
  source: BlockSource,
  clusterSize: number,
  workers: ClusterWorkers,
): AsyncGenerator<HashedBatch> {
  const buffers = BatchBuffers.forReading(clusterSize);
  const width = 2 * workers.threads + 1;
  const hashed = orderedMap(planBatches(source, clusterSize), width, async (plan): Promise<HashedBatch> => {
    const batch = await openBatch(source, plan, clusterSize, buffers);
    const { ids } = await workers.ingest({ batch, store: undefined });
    return { batch, ids };
  });
  for await (const each of hashed) {
    yield each;
    closeBatch(each.batch, buffers);
  }
}
