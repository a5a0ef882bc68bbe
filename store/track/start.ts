import { randomBytes } from 'node:crypto';
import { InPlaceFile, RawFile } from '../../block/index.ts';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { readBitmapNames, startBitmap } from '../../qcow2/index.ts';
import { rememberChanged } from '../checkout/remember.ts';
import type { OpenDisk } from '../commit/disk.ts';
import { openDisk } from '../commit/open-disk.ts';
import { originKey } from '../origin/key.ts';
import type { Store } from '../store.ts';
import { tells } from './dirty.ts';
import { MARK_BYTES, TYPE_TRACKING_MARK } from './mark.ts';
import { parseTrackingName, type TrackedDisk, trackingName } from './name.ts';

/** Whether an image has a bitmap by which a store keeps track of it. False for what is no qcow2. */
export async function isTracked(path: string): Promise<boolean> {
  const source = await RawFile.open(path);
  try {
    const names = await readBitmapNames(source, path);
    return names.some((name) => parseTrackingName(name) !== undefined);
  } catch (error) {
    // Whoever reads the image says what is wrong with it.
    if (!isImgstoreError(error)) throw error;
    return false;
  } finally {
    await source.close();
  }
}

/** An image that is kept track of, and what it holds. */
export interface TrackingStart extends TrackedDisk {
  readonly path: string;
  /** On which nobody else has locks, since before it was read. */
  readonly file: InPlaceFile;
  /** The image as it was read. */
  readonly opened: OpenDisk;
  /** Clusters of the disk that hold data. */
  readonly clusters: number;
  readonly allowBacking: readonly string[];
}

/**
 * Begins a bitmap in an image that holds a disk of a version, in the place of older ones; QEMU notes in it what is written from then on. The file, which is closed, is known to hold that version.
 * @throws ImgstoreError `UNSUPPORTED`, `BAD_IMAGE`, `IN_USE` when a file has changed since it was read, `IO`
 */
export async function startTracking(store: Store, start: TrackingStart): Promise<void> {
  const { path, file, opened, commit, disk, clusters, allowBacking } = start;
  try {
    const key = await originKey(store);
    if (key === undefined) throw cannot(path, 'the store cannot be written to');
    if (!tells(opened)) throw cannot(path, 'whether a file below it has changed does not show');
    const { size } = opened.source;
    if (size === 0) throw cannot(path, 'it has no bytes');
    await opened.refuseChanged();
    const granularity = store.clusterSize;
    const mark = randomBytes(MARK_BYTES);
    const fresh = {
      name: trackingName(key, { commit, disk }, { mark, below: opened.bases[0]?.files }),
      extension: { type: TYPE_TRACKING_MARK, data: mark },
      granularity,
      dirtyGranule: Math.floor((size - 1) / granularity),
    };
    const source = await RawFile.open(path);
    try {
      await startBitmap(file, source, path, fresh, (name) => parseTrackingName(name) !== undefined);
    } finally {
      await source.close();
    }
    await rememberChanged(store, file, { format: 'qcow2', allowBacking }, { commit, disk, clusters });
  } finally {
    await file.close();
  }
}

/** As {@link startTracking}, of a file that was just written. */
export async function trackFile(store: Store, start: Omit<TrackingStart, 'file' | 'opened'>): Promise<void> {
  const { path, allowBacking } = start;
  const file = await InPlaceFile.open(path);
  let opened: OpenDisk;
  try {
    opened = await openDisk(path, { format: 'qcow2', allowBacking, isLockedHere: true });
  } catch (error) {
    await file.close();
    throw error;
  }
  try {
    await startTracking(store, { ...start, file, opened });
  } finally {
    await opened.source.close();
  }
}

function cannot(path: string, why: string): ImgstoreError {
  return new ImgstoreError('UNSUPPORTED', `${path}: cannot be kept track of: ${why}`, { path });
}
