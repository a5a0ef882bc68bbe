import type { ObjectId } from '../../objects/index.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { ClusterCounter } from '../version/count.ts';
import type { VersionDisk } from '../version/version.ts';
import type { ClusterWorkers } from '../workers/pool.ts';

/** What is needed to write one file of a checkout. */
export interface CheckoutJob {
  readonly store: Store;
  readonly commit: ObjectId;
  readonly disk: VersionDisk;
  /** Clusters of the disk that hold data. */
  readonly clusters: number;
  readonly path: string;
  /** Replaces a file that is in the way. */
  readonly force: boolean;
  /** For files that others stand on: a write to a backing file breaks every overlay. */
  readonly readOnly: boolean;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
}

/** Number of clusters of a disk that hold data. */
export function countClusters(store: Store, disk: VersionDisk): Promise<number> {
  return new ClusterCounter(store.objects.readTree).count(disk.map);
}
