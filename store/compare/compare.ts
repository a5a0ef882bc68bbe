import { existsSync } from 'node:fs';
import type { BlockSource } from '../../block/index.ts';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { isNbdUri } from '../../nbd/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { OpenDiskOptions } from '../commit/open-disk.ts';
import { openDiskOnStore } from '../origin/stored-base.ts';
import type { Monitor } from '../progress.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { DiskSource } from '../version/disk-source.ts';
import { findDisk, readVersion, type Version, type VersionDisk } from '../version/version.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { diffAgainstSource, firstDataFrom } from './source-diff.ts';

/** Whether two disks hold the same bytes, and if not, where they first differ. */
export interface Comparison {
  readonly identical: boolean;
  /** Disk of the first difference. */
  readonly disk: string | undefined;
  /** Bytes: start of the first cluster that differs. */
  readonly offset: number | undefined;
  /** What is different, for people. */
  readonly reason: string | undefined;
}

export interface CompareRequest extends OpenDiskOptions {
  /** The version that an overlay's backing file held, where the file is gone and the overlay's header does not say it surely. */
  readonly storedBase?: string | undefined;
  /** A version. */
  readonly revision: string;
  /** A version, an image file or an NBD URI; a name that is both a version and a file is a version, unless a format is given. */
  readonly other: string;
  /** Of versions with several disks; all disks when two versions are compared and none is named. */
  readonly disk?: string | undefined;
}

const SAME: Comparison = { identical: true, disk: undefined, offset: undefined, reason: undefined };

/**
 * Compares a version with another or with an image. As with `qemu-img compare`, a disk that is longer by zeros only is the same.
 * @throws ImgstoreError `NOT_FOUND` when `other` is neither, and what opening an image throws
 */
export async function compare(
  store: Store,
  request: CompareRequest,
  monitor: Monitor = {},
): Promise<Comparison> {
  const version = readVersion(store.objects, await resolveCommit(store, request.revision));
  // A version has no format.
  const isImage = isNbdUri(request.other) || request.format !== undefined;
  const other = isImage ? undefined : await tryResolve(store, request.other);
  if (other !== undefined)
    return compareVersions(store, version, readVersion(store.objects, other), request.disk, monitor);
  const disk = findDisk(version, request.disk);
  const file = await openDiskOnStore(store, request.other, request);
  for (const notice of file.notices) monitor.onNotice?.(notice);
  const reading = store.announceReading([version.id]);
  try {
    const result = await compareSource(store, disk, file.source, monitor);
    await file.refuseChanged();
    return result;
  } finally {
    reading?.withdraw();
    await file.source.close();
  }
}

async function tryResolve(store: Store, text: string): Promise<ObjectId | undefined> {
  try {
    return await resolveCommit(store, text);
  } catch (error) {
    const notRevision = isImgstoreError(error, 'NOT_FOUND') || isImgstoreError(error, 'USAGE');
    if (notRevision && existsSync(text)) return undefined;
    if (!notRevision) throw error;
    throw new ImgstoreError(
      'NOT_FOUND',
      `'${text}' is neither a version nor a file`,
      { revision: text },
      error,
    );
  }
}

async function compareVersions(
  store: Store,
  a: Version,
  b: Version,
  name: string | undefined,
  monitor: Monitor,
): Promise<Comparison> {
  const names = name === undefined ? [...new Set([...a.disks, ...b.disks].map((disk) => disk.name))] : [name];
  for (const each of names) {
    const [x, y] = [a, b].map((version) => version.disks.find((disk) => disk.name === each));
    if (x === undefined || y === undefined) {
      if (name !== undefined) findDisk(x === undefined ? a : b, name);
      return {
        identical: false,
        disk: each,
        offset: undefined,
        reason: `only one version has the disk ${each}`,
      };
    }
    if (x.virtualSize === y.virtualSize && x.clusterSize === y.clusterSize && x.map.id === y.map.id) continue;
    const result = await compareSource(store, x, new DiskSource(store.objects, y), monitor);
    if (!result.identical) return result;
  }
  return SAME;
}

async function compareSource(
  store: Store,
  disk: VersionDisk,
  source: BlockSource,
  monitor: Monitor,
): Promise<Comparison> {
  const workers = new ClusterWorkers(source.size);
  try {
    const different = (offset: number, reason: string): Comparison => ({
      identical: false,
      disk: disk.name,
      offset,
      reason,
    });
    for await (const { cluster } of diffAgainstSource(store.objects, disk, source, workers, monitor)) {
      const offset = cluster * disk.clusterSize;
      return different(offset, `the cluster at ${offset} differs`);
    }
    const tail = source.size > disk.virtualSize ? await firstDataFrom(source, disk.virtualSize) : undefined;
    return tail === undefined ? SAME : different(tail, `one disk is longer and has data at ${tail}`);
  } finally {
    await workers.close();
  }
}
