import type { ObjectId } from '../../objects/index.ts';
import type { ImageFormat } from '../../qcow2/index.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { allClusters } from '../version/disk-source.ts';
import type { VersionDisk } from '../version/version.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import { writeOutputFile } from './output-file.ts';
import { type BackingFile, type ImageCluster, writeQcow2 } from './write-qcow2.ts';
import { writeRaw } from './write-raw.ts';

/** What is needed to write one file of a checkout. */
export interface CheckoutJob {
  readonly store: Store;
  readonly commit: ObjectId;
  readonly disk: VersionDisk;
  readonly path: string;
  readonly force: boolean;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
}

/** Writes a disk into one file that needs no other. */
export function writeFlat(job: CheckoutJob, format: ImageFormat, dataBytes: number): Promise<number> {
  const { objects } = job.store;
  return writeOutputFile(job.path, job.force, (file) =>
    format === 'raw'
      ? writeRaw(file, job.disk, dataBytes, objects, job.workers, job.monitor)
      : writeQcow2(
          file,
          job.disk,
          allClusters(objects, job.disk),
          undefined,
          dataBytes,
          objects,
          job.workers,
          job.monitor,
        ),
  );
}

/** Writes what differs between a disk and a backing file. */
export function writeOverlay(
  job: CheckoutJob,
  changes: AsyncIterable<ImageCluster>,
  backing: BackingFile,
  dataBytes: number,
): Promise<number> {
  return writeOutputFile(job.path, job.force, (file) =>
    writeQcow2(file, job.disk, changes, backing, dataBytes, job.store.objects, job.workers, job.monitor),
  );
}
