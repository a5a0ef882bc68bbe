import type { ObjectId } from '../../objects/index.ts';
import type { CompressionType } from '../../qcow2/index.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { ClusterCounter } from '../version/count.ts';
import { refuseBeyondEnd } from '../version/map-errors.ts';
import type { VersionDisk } from '../version/version.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import type { Outputs } from './outputs.ts';

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
  /** Called when another process made the file meanwhile; throws unless that one does as well. */
  readonly onTaken?: (() => Promise<void>) | undefined;
  /** How the clusters of qcow2 files are compressed; plain when undefined. */
  readonly compress: CompressionType | undefined;
  /** Folders from which backing files may come, besides the image's own. */
  readonly allowBacking: readonly string[];
  /** Where the files go until all are written. */
  readonly outputs: Outputs;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
}

/** A cluster of a new image: a stored one, or zeros that hide what the backing file has. */
export interface ImageCluster {
  readonly cluster: number;
  readonly id: ObjectId | undefined;
}

/** Number of clusters of a disk that hold data. @throws ImgstoreError `DAMAGED`, `NOT_FOUND` naming version and disk */
export async function countClusters(store: Store, disk: VersionDisk): Promise<number> {
  await refuseBeyondEnd(store.objects, disk);
  return new ClusterCounter(store.objects.readTree).count(disk);
}
