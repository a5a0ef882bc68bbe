import type { FileIdentity } from '../../block/index.ts';
import type { ObjectId, SkipNode } from '../../objects/index.ts';
import type { CompressionType } from '../../qcow2/index.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { ClusterCounter } from '../version/count.ts';
import { allClusters, type StoredCluster } from '../version/disk-source.ts';
import { ignore, refuseBeyondEnd } from '../version/map-errors.ts';
import type { VersionDisk } from '../version/version.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import type { DamageList } from './damage.ts';
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
  /** The file that was there before and the new one stands on, with all below that, as they were when they were looked at. */
  readonly below?: readonly FileIdentity[] | undefined;
  /** Where the files go until all are written. */
  readonly outputs: Outputs;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
  /** Where it is noted what cannot be read and becomes zeros; undefined: that is thrown for. */
  readonly damage: DamageList | undefined;
}

/** A cluster of a new image: a stored one, or zeros that hide what the backing file has. */
export interface ImageCluster {
  readonly cluster: number;
  readonly id: ObjectId | undefined;
}

/**
 * Number of clusters of a disk that hold data.
 * @param skipDamaged leaves out those below nodes of the map that cannot be read
 * @throws ImgstoreError `DAMAGED`, `NOT_FOUND` naming version and disk
 */
export async function countClusters(store: Store, disk: VersionDisk, skipDamaged: boolean): Promise<number> {
  await refuseBeyondEnd(store.objects, disk, skipDamaged ? ignore : undefined);
  if (!skipDamaged) return new ClusterCounter(store.objects.readTree).count(disk);
  let count = 0;
  for await (const _ of allClusters(store.objects, disk, undefined, undefined, ignore)) count++;
  return count;
}

/** Notes the nodes of a job's map that cannot be read; undefined when they are to be thrown for. */
export function skipNodes(job: CheckoutJob): SkipNode | undefined {
  const { damage } = job;
  return damage === undefined ? undefined : (node) => damage.addNode(job, node);
}

/** All stored clusters of a job's disk, in order. @throws ImgstoreError `DAMAGED`, `NOT_FOUND` naming version and disk */
export function jobClusters(job: CheckoutJob): AsyncGenerator<StoredCluster> {
  return allClusters(job.store.objects, job.disk, undefined, undefined, skipNodes(job));
}
