import { InPlaceFile } from '../../../block/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import { headerOn, type Qcow2Header } from '../../../qcow2/index.ts';
import type { Monitor } from '../../progress.ts';
import { resolveCommit } from '../../revision/resolve.ts';
import type { Store } from '../../store.ts';
import { findDisk, readVersion, type VersionDisk } from '../../version/version.ts';
import type { InPlaceJob } from '../in-place/job.ts';
import { changeOverlay, type OverlayPlan } from './change-overlay.ts';
import { shownOtherwise } from './keep-shown.ts';
import { backingNameFor, makeNewBase, newBasePath } from './new-base.ts';
import { originOnto, refuseOtherClusters, rewriteHeader } from './overlay-header.ts';

export interface RebaseRequest {
  /** The qcow2 to put onto another file. */
  readonly overlay: string;
  /** The version to put it onto. */
  readonly onto: string;
  /** Of a version with several disks; that of the version before when not given. */
  readonly disk?: string | undefined;
  /** The file that holds that version, or is to; or the folder for it. Beside the overlay when not given. */
  readonly base?: string | undefined;
  /** The version that the backing file held, where it is gone and the header does not say that surely. */
  readonly storedBase?: string | undefined;
  /** Folders from which backing files may come, besides the overlay's own. */
  readonly allowBacking?: readonly string[] | undefined;
}

export interface RebaseResult {
  /** As given. */
  readonly file: string;
  /** The version that it stands on now. */
  readonly onto: ObjectId;
  /** As the header has it. */
  readonly backing: string;
  /** Bytes of guest data that were copied into the overlay, as the new base does not have them. */
  readonly writtenBytes: number;
  readonly seconds: number;
}

/**
 * Puts an overlay onto the disk of another version, with the guest's bytes unchanged. Where the two versions differ and the overlay has nothing, it gets what the one before has. The new base file is complete
 * before anything is written, and the header goes last: a kill at any moment leaves the guest's bytes as they were.
 * @throws ImgstoreError `USAGE`, `NOT_FOUND`, `IN_USE`, `FORBIDDEN`, `EXISTS`, `BAD_IMAGE`, `UNSUPPORTED`, `DAMAGED`, `IO`
 */
export async function rebaseOverlay(
  store: Store,
  request: RebaseRequest,
  monitor: Monitor = {},
): Promise<RebaseResult> {
  const started = performance.now();
  const { overlay: path } = request;
  const commit = await resolveCommit(store, request.onto);
  const reading = store.announceReading([commit]);
  try {
    const file = await InPlaceFile.open(path);
    try {
      const moved = await moveOverlay(store, request, { file, commit, monitor });
      return { file: path, onto: commit, ...moved, seconds: (performance.now() - started) / 1000 };
    } finally {
      await file.close();
    }
  } finally {
    reading?.withdraw();
  }
}

/** An overlay whose locks are ours, and where it is to stand. */
interface OpenOverlay {
  readonly file: InPlaceFile;
  readonly commit: ObjectId;
  readonly monitor: Monitor;
}

async function moveOverlay(
  store: Store,
  request: RebaseRequest,
  { file, commit, monitor }: OpenOverlay,
): Promise<Pick<RebaseResult, 'backing' | 'writtenBytes'>> {
  const { overlay: path, storedBase, disk: diskName, allowBacking = [] } = request;
  let backing: Awaited<ReturnType<typeof backingNameFor>> | undefined;
  const plan = async (job: InPlaceJob, header: Qcow2Header): Promise<OverlayPlan> => {
    const disk = newDisk(store, commit, diskName, job.disk);
    refuseOtherClusters(path, header, [disk]);
    const base = { path: await newBasePath(request, commit, disk), commit, disk };
    await makeNewBase({ store, workers: job.workers, monitor, overlay: path, allowBacking }, base);
    backing = await backingNameFor(path, base.path);
    const onto = { store, path, file, base, backing };
    // Known to fit before anything is written.
    headerOn(file, header, { ...backing, extension: await originOnto(onto, header) }, path);
    return { clusters: shownOtherwise(job, disk), rewriteHeader: () => rewriteHeader(onto) };
  };
  const writtenBytes = await changeOverlay(
    { store, path, file, storedBase, disk: diskName, allowBacking, monitor },
    { expectedBytes: (_, present) => present.expectedBytes, plan },
  );
  return { backing: backing!.file, writtenBytes };
}

/** Of a version with several disks that of the name that the overlay's has. */
function newDisk(store: Store, commit: ObjectId, name: string | undefined, before: VersionDisk): VersionDisk {
  const version = readVersion(store.objects, commit);
  return findDisk(version, name ?? (version.disks.length > 1 ? before.name : undefined));
}
