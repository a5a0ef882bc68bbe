import { InPlaceFile } from '../../../block/index.ts';
import { ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import type { Monitor } from '../../progress.ts';
import type { Store } from '../../store.ts';
import { allClusters } from '../../version/disk-source.ts';
import { inDisk } from '../../version/map-errors.ts';
import type { VersionDisk } from '../../version/version.ts';
import type { InPlaceJob } from '../in-place/job.ts';
import { countClusters, type ImageCluster } from '../job.ts';
import { changeOverlay, type OverlayPlan } from '../rebase/change-overlay.ts';
import { cutTie } from '../rebase/overlay-header.ts';

export interface HydrateRequest {
  /** The qcow2 that is to stand on nothing. */
  readonly overlay: string;
  /** The version that the backing file held, where the header does not say that surely. */
  readonly storedBase?: string | undefined;
  /** Of that version, where it has several disks. */
  readonly disk?: string | undefined;
  /** Folders from which backing files may come, besides the overlay's own. */
  readonly allowBacking?: readonly string[] | undefined;
}

export interface HydrateResult {
  /** As given. */
  readonly file: string;
  /** Bytes of guest data that were copied into it. */
  readonly writtenBytes: number;
  readonly seconds: number;
}

/**
 * Copies into an overlay all that it does not hold of the version that it stands on, then makes it stand on nothing, with the guest's bytes unchanged. The store is read, not what the header names.
 * The header goes last: a kill at any moment leaves the guest's bytes as they were, and what was copied need not be copied again.
 * @throws ImgstoreError `USAGE`, `NOT_FOUND`, `IN_USE`, `FORBIDDEN`, `BAD_IMAGE`, `UNSUPPORTED`, `DAMAGED`, `IO`
 */
export async function hydrateOverlay(
  store: Store,
  request: HydrateRequest,
  monitor: Monitor = {},
): Promise<HydrateResult> {
  const started = performance.now();
  const { overlay: path } = request;
  const file = await InPlaceFile.open(path);
  try {
    const writtenBytes = await fillOverlay(store, request, file, monitor);
    return { file: path, writtenBytes, seconds: (performance.now() - started) / 1000 };
  } catch (error) {
    throw file.isChanged ? partly(path, error) : error;
  } finally {
    await file.close();
  }
}

/** Returns the bytes that were written. @param file of the overlay, whose locks are ours */
async function fillOverlay(
  store: Store,
  { overlay: path, storedBase, disk, allowBacking = [] }: HydrateRequest,
  file: InPlaceFile,
  monitor: Monitor,
): Promise<number> {
  let base: VersionDisk | undefined;
  const plan = async (job: InPlaceJob): Promise<OverlayPlan> => {
    base = job.disk;
    // Reads all of the map: what of it is lost is missed before anything is written.
    const clusters = allShown(job, await countClusters(store, job.disk, false));
    return { clusters, rewriteHeader: () => cutTie(store, path, file) };
  };
  try {
    return await changeOverlay(
      { store, path, file, storedBase, disk, allowBacking, monitor },
      { expectedBytes: ({ virtualSize }) => virtualSize, plan },
    );
  } catch (error) {
    throw base === undefined ? error : inDisk(base, error);
  }
}

/** Every cluster of the base that is not zeros. @param count their number */
async function* allShown({ store, disk, monitor }: InPlaceJob, count: number): AsyncGenerator<ImageCluster> {
  let done = 0;
  for await (const cluster of allClusters(store.objects, disk)) {
    yield cluster;
    monitor.onProgress?.({ done: ++done * disk.clusterSize, total: count * disk.clusterSize });
  }
}

/** What a failure says when something has been written. */
function partly(path: string, error: unknown): unknown {
  if (!isImgstoreError(error)) return error;
  const why = error.code === 'INTERRUPTED' ? 'interrupted' : error.message;
  const message = `${why}: ${path} shows its guest what it did, and still needs what it stands on: run the same command again to go on`;
  return new ImgstoreError(error.code, message, { ...error.data, partlyWritten: path }, error);
}
