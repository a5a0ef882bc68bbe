import { ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import type { ImageFormat } from '../../../qcow2/index.ts';
import type { Monitor } from '../../progress.ts';
import { resolveCommit } from '../../revision/resolve.ts';
import type { Store } from '../../store.ts';
import { inDisk } from '../../version/map-errors.ts';
import { findDisk, readVersion } from '../../version/version.ts';
import { ClusterWorkers } from '../../workers/pool.ts';
import type { CheckoutResult } from '../checkout.ts';
import { countClusters } from '../job.ts';
import { refuseInStore } from '../refuse-output.ts';
import { rememberChanged } from '../remember.ts';
import type { InPlaceCounts, InPlaceJob } from './job.ts';
import { openTarget } from './target.ts';
import { updateQcow2 } from './update-qcow2.ts';
import { updateRaw } from './update-raw.ts';

export interface InPlaceRequest {
  readonly revision: string;
  /** The file or block device to write into, which must be there. */
  readonly output: string;
  /** Of a version with several disks. */
  readonly disk?: string | undefined;
  /** Of the file; content and name decide otherwise. */
  readonly format?: ImageFormat | undefined;
  /** Folders from which the files below it may come, besides its own. */
  readonly allowBacking?: readonly string[] | undefined;
}

/** `writtenBytes` counts what was written over or into new clusters, also zeros where they could not be had without; `backing` is what the file stands on. */
export interface InPlaceResult extends CheckoutResult, Readonly<InPlaceCounts> {}

/**
 * Makes a file or block device that is there hold a version's disk, by writing what differs. It can be stopped at any moment and run again. When it returns, all is on the disk.
 * @throws ImgstoreError `NOT_FOUND`, `USAGE`, `IN_USE`, `FORBIDDEN`, `BAD_IMAGE`, `UNSUPPORTED`, `DAMAGED`, `IO`; the message says when the file holds a part of the version
 */
export async function checkoutInPlace(
  store: Store,
  request: InPlaceRequest,
  monitor: Monitor = {},
): Promise<InPlaceResult> {
  const started = performance.now();
  const { output: path, allowBacking = [] } = request;
  const commit = await resolveCommit(store, request.revision);
  const disk = findDisk(readVersion(store.objects, commit), request.disk);
  await refuseInStore(path, store.folder);
  // Reads all of the map: what of it is lost is missed before anything is written.
  const clusters = await countClusters(store, disk, false);
  const reading = store.announceReading([commit]);
  let workers: ClusterWorkers | undefined;
  try {
    const target = await openTarget(path, disk, request, monitor);
    const counts: InPlaceCounts = { readBytes: 0, changedBytes: 0, writtenBytes: 0, zeroedBytes: 0 };
    try {
      workers = new ClusterWorkers(target.present.expectedBytes);
      const job: InPlaceJob = { store, disk, target, workers, monitor, counts };
      await (target.header === undefined ? updateRaw(job) : updateQcow2(job));
      await target.file.sync();
      const known = { commit, disk: disk.name, clusters };
      await rememberChanged(store, target.file, { format: target.format, allowBacking }, known);
    } catch (error) {
      throw target.file.isChanged ? partly(path, inDisk(disk, error)) : inDisk(disk, error);
    } finally {
      await target.close();
    }
    const { format, header } = target;
    const backing = header?.backingFile ?? null;
    const seconds = (performance.now() - started) / 1000;
    return { file: path, format, virtualSize: disk.virtualSize, ...counts, backing, seconds };
  } finally {
    await workers?.close();
    reading?.withdraw();
  }
}

/** What a failure says when something has been written. */
function partly(path: string, error: unknown): unknown {
  if (!isImgstoreError(error)) return error;
  const why = error.code === 'INTERRUPTED' ? 'interrupted' : error.message;
  const isLoss = error.code === 'DAMAGED' || (error.code === 'NOT_FOUND' && error.data.id !== undefined);
  const first = isLoss ? "see what 'imgstore fsck' says, then " : '';
  const message = `${why}: ${path} now holds a part of the version: ${first}run the same command again to complete it`;
  return new ImgstoreError(error.code, message, { ...error.data, partlyWritten: path }, error);
}
