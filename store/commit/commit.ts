import { ImgstoreError } from '../../errors/index.ts';
import { isNbdUri } from '../../nbd/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { branchTip } from '../history/tips.ts';
import { openDiskOnStore } from '../origin/stored-base.ts';
import type { Monitor } from '../progress.ts';
import { BRANCHES, fullRefName } from '../refs/name.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { TrackedImages } from '../track/images.ts';
import type { Attachment } from './attachments.ts';
import { knownDisk } from './known-disk.ts';
import { defaultBranch, sourceTitle } from './names.ts';
import type { OpenDisk, OpenDiskOptions } from './open-disk.ts';
import type { StoredDisk } from './store-disk.ts';
import {
  type CommitResult,
  type NamedDisk,
  refuseBadNames,
  refuseParent,
  storeVersion,
} from './store-version.ts';

export type { CommitResult } from './store-version.ts';

/** A disk image to store, and as which disk. */
export interface DiskToStore {
  readonly name: string;
  readonly path: string;
}

export interface CommitRequest extends Omit<OpenDiskOptions, 'bitmap'> {
  /** At least one. */
  readonly disks: readonly DiskToStore[];
  readonly attachments?: readonly Attachment[] | undefined;
  /** The first file's name without its ending when not given. */
  readonly branch?: string | undefined;
  readonly message?: string | undefined;
  /** The version that a new branch starts from. */
  readonly parent?: string | undefined;
  /** The version that an overlay's backing file held, where the file is gone and the overlay's header does not say it surely. */
  readonly storedBase?: string | undefined;
  /**
   * The dirty bitmap of an NBD export, of QEMU's kind, that has all that was written since the export held the branch's last version, or {@link parent} for a new branch. Nobody can check that: the
   * bytes that it has as clean are not read.
   */
  readonly bitmap?: string | undefined;
  /** Makes a version although nothing has changed. */
  readonly allowEmpty?: boolean | undefined;
  /** Begins a bitmap in each image, so that the next commit reads only what was written since; images that have one keep it up in any case. */
  readonly track?: boolean | undefined;
}

/**
 * Stores a version of one or more disks and moves the branch to it.
 *
 * A failure at any time leaves the store as it was ({@link storeVersion}).
 * @throws ImgstoreError `IN_USE`, `REF_MOVED`, `BAD_NAME`, `IO` and what opening an image throws
 */
export async function commitVersion(
  store: Store,
  request: CommitRequest,
  monitor: Monitor = {},
): Promise<CommitResult> {
  const started = performance.now();
  const ref = fullRefName(BRANCHES, request.branch ?? defaultBranch(request.disks[0]!.path));
  refuseBadNames(request.disks, request.attachments);
  const tip = await branchTip(store, ref);
  await refuseParent(store, { ref, tip, parent: request.parent });
  const since = await bitmapStart(store, request, tip);
  const open: OpenDisk[] = [];
  const tracked = new TrackedImages(store, request, monitor);
  const transaction = store.begin(monitor.newObjects);
  try {
    for (const { name, path } of request.disks) {
      const isLockedHere = await tracked.lock(path);
      const bitmap =
        since === undefined ? undefined : { name: request.bitmap!, since: { commit: since, disk: name } };
      open.push(await openDiskOnStore(store, path, { ...request, bitmap, disk: name, isLockedHere }));
    }
    for (const notice of open.flatMap((disk) => disk.notices)) monitor.onNotice?.(notice);
    const named: NamedDisk[] = [];
    for (const [i, { name }] of request.disks.entries()) {
      const known = await knownDisk(store, open[i]!, { tip, onNotice: monitor.onNotice });
      named.push({ name, disk: open[i]!, known });
    }
    const message = request.message ?? defaultMessage(request);
    const version = { ...request, ref, tip, message };
    const result = await storeVersion(store, version, named, transaction, monitor);
    for (const [i, disk] of result.disks.entries()) {
      // What is kept track of is remembered when its bitmap has begun.
      if (!(await tracked.start(open[i]!, result.commit, disk)))
        await remember(store, open[i]!, result.commit, disk);
    }
    return { ...result, seconds: (performance.now() - started) / 1000 };
  } finally {
    await transaction.discard();
    for (const disk of open) await disk.source.close();
    await tracked.close();
  }
}

/** The version that a bitmap begins at; undefined without one. @throws ImgstoreError `USAGE` */
async function bitmapStart(
  store: Store,
  { bitmap, disks, parent }: CommitRequest,
  tip: ObjectId | undefined,
): Promise<ObjectId | undefined> {
  if (bitmap === undefined) return undefined;
  const file = disks.find(({ path }) => !isNbdUri(path));
  if (file !== undefined)
    throw new ImgstoreError('USAGE', `${file.path}: --bitmap is for exports of NBD servers`, {
      path: file.path,
    });
  if (tip !== undefined) return tip;
  if (parent !== undefined) return resolveCommit(store, parent);
  throw new ImgstoreError(
    'USAGE',
    '--bitmap tells what was written since a version, of which the branch has none: name it with --parent',
    { bitmap },
  );
}

function defaultMessage({ disks }: CommitRequest): string {
  return `Store ${disks.map(({ path }) => sourceTitle(path)).join(', ')}`;
}

async function remember(
  store: Store,
  disk: OpenDisk,
  commit: ObjectId,
  { name, clusters }: StoredDisk,
): Promise<void> {
  if (disk.files !== undefined)
    await store.statCache.put(disk.files, disk.lookedNs, { commit, disk: name, clusters });
}
