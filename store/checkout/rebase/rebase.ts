import { InPlaceFile } from '../../../block/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import { headerOn } from '../../../qcow2/index.ts';
import { openDiskOnStore } from '../../origin/stored-base.ts';
import type { Monitor } from '../../progress.ts';
import { resolveCommit } from '../../revision/resolve.ts';
import type { Store } from '../../store.ts';
import { findDisk, readVersion, type VersionDisk } from '../../version/version.ts';
import { ClusterWorkers } from '../../workers/pool.ts';
import type { InPlaceJob } from '../in-place/job.ts';
import { rememberChanged } from '../remember.ts';
import { keepShown } from './keep-shown.ts';
import { backingNameFor, makeNewBase, newBasePath } from './new-base.ts';
import { findOldBase, type OldBase } from './old-base.ts';
import { originOnto, refuseOtherClusters, rewriteHeader, writableHeader } from './overlay-header.ts';

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
  const { overlay: path, storedBase, allowBacking = [] } = request;
  const header = await writableHeader(path);
  const present = await openDiskOnStore(store, path, {
    allowBacking,
    storedBase,
    disk: request.disk,
    format: 'qcow2',
    isLockedHere: true,
  });
  const workers = new ClusterWorkers(present.expectedBytes);
  let old: OldBase | undefined;
  try {
    const what = { store, workers, monitor };
    old = await findOldBase({ ...what, overlay: { path, header }, present, allowBacking });
    const disk = newDisk(store, commit, request.disk, old.disk);
    refuseOtherClusters(path, header, [old.disk, disk]);
    const base = { path: await newBasePath(request, commit, disk), commit, disk };
    await makeNewBase({ ...what, overlay: path, allowBacking }, base);
    const backing = await backingNameFor(path, base.path);
    const onto = { store, path, file, base, backing };
    // Known to fit before anything is written.
    headerOn(file, header, { ...backing, extension: await originOnto(onto, header) }, path);
    const target = { path, file, format: 'qcow2', header, present, close: async () => {} } as const;
    const counts = { readBytes: 0, changedBytes: 0, writtenBytes: 0, zeroedBytes: 0 };
    const job: InPlaceJob = { ...what, disk: old.disk, target, counts };
    await keepShown(job, header, disk);
    await old.refuseChanged();
    await rewriteHeader(onto);
    const known = present.files && (await store.statCache.get(present.files));
    // It holds what it held.
    if (known !== undefined) await rememberChanged(store, file, { format: 'qcow2', allowBacking }, known);
    return { backing: backing.file, writtenBytes: counts.writtenBytes };
  } finally {
    await old?.close();
    await workers.close();
    await present.source.close();
  }
}

/** Of a version with several disks that of the name that the overlay's has. */
function newDisk(store: Store, commit: ObjectId, name: string | undefined, before: VersionDisk): VersionDisk {
  const version = readVersion(store.objects, commit);
  return findDisk(version, name ?? (version.disks.length > 1 ? before.name : undefined));
}
