import type { ObjectId } from '../../objects/index.ts';
import type { CompressionType } from '../../qcow2/index.ts';
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
  /** How the clusters of qcow2 files are compressed; plain when undefined. */
  readonly compress: CompressionType | undefined;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
}

/** A cluster of a new image: a stored one, or zeros that hide what the backing file has. */
export interface ImageCluster {
  readonly cluster: number;
  readonly id: ObjectId | undefined;
}

/** Number of clusters of a disk that hold data. */
export function countClusters(store: Store, disk: VersionDisk): Promise<number> {
  return new ClusterCounter(store.objects.readTree).count(disk.map);
}
