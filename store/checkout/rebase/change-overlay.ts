import type { InPlaceFile } from '../../../block/index.ts';
import type { Qcow2Header } from '../../../qcow2/index.ts';
import type { OpenDisk } from '../../commit/disk.ts';
import { openDiskOnStore } from '../../origin/stored-base.ts';
import type { Monitor } from '../../progress.ts';
import type { Store } from '../../store.ts';
import { ClusterWorkers } from '../../workers/pool.ts';
import type { InPlaceCounts, InPlaceJob } from '../in-place/job.ts';
import type { ImageCluster } from '../job.ts';
import { rememberChanged } from '../remember.ts';
import { keepShown } from './keep-shown.ts';
import { findOldBase, type OldBase } from './old-base.ts';
import { refuseOtherClusters, writableHeader } from './overlay-header.ts';

/** An overlay that is to stand on something else. */
export interface OverlayToChange {
  readonly store: Store;
  readonly path: string;
  /** Whose locks are ours. */
  readonly file: InPlaceFile;
  /** The version that the backing file held, where it is gone and the header does not say that surely. */
  readonly storedBase: string | undefined;
  /** Of that version, where it has several disks. */
  readonly disk: string | undefined;
  readonly allowBacking: readonly string[];
  readonly monitor: Monitor;
}

/** How an overlay is changed. */
export interface OverlayChange {
  /** Bytes that it takes to find out about the overlay and to fill it, about. */
  readonly expectedBytes: (header: Qcow2Header, present: OpenDisk) => number;
  /**
   * Finds out all that can be, before anything is written.
   * @param job its disk is what the overlay stands on
   */
  readonly plan: (job: InPlaceJob, header: Qcow2Header) => Promise<OverlayPlan>;
}

export interface OverlayPlan {
  /** What the overlay is to hold itself: what its base shows there, in order. */
  readonly clusters: AsyncIterable<ImageCluster>;
  /** Makes the header say what it stands on, in one write, when it holds them. */
  readonly rewriteHeader: () => Promise<void>;
}

/**
 * Copies what an overlay does not hold of the version that it stands on, as far as it is needed, then has its header changed, with the guest's bytes as they were. The header goes last: a kill at any
 * moment leaves those bytes, and what was copied need not be copied again.
 * @returns the bytes of guest data that were written
 * @throws ImgstoreError `USAGE`, `NOT_FOUND`, `FORBIDDEN`, `BAD_IMAGE`, `UNSUPPORTED`, `DAMAGED`, `IN_USE` when what it stands on has changed meanwhile, `IO`
 */
export async function changeOverlay(overlay: OverlayToChange, change: OverlayChange): Promise<number> {
  const { store, path, storedBase, disk, allowBacking } = overlay;
  const header = await writableHeader(path);
  const options = { allowBacking, storedBase, disk, format: 'qcow2', isLockedHere: true } as const;
  const present = await openDiskOnStore(store, path, options);
  let workers: ClusterWorkers | undefined;
  let old: OldBase | undefined;
  let reading: ReturnType<Store['announceReading']>;
  try {
    workers = new ClusterWorkers(change.expectedBytes(header, present));
    const what = { store, workers, monitor: overlay.monitor };
    old = await findOldBase({ ...what, overlay: { path, header }, present, allowBacking, storedBase });
    reading = store.announceReading([old.disk.version]);
    refuseOtherClusters(path, header, [old.disk]);
    const target = {
      path,
      file: overlay.file,
      format: 'qcow2',
      header,
      present,
      close: async () => {},
    } as const;
    const counts: InPlaceCounts = { readBytes: 0, changedBytes: 0, writtenBytes: 0, zeroedBytes: 0 };
    const job: InPlaceJob = { ...what, disk: old.disk, target, counts };
    const { clusters, rewriteHeader } = await change.plan(job, header);
    await keepShown(job, header, clusters);
    await old.refuseChanged();
    await rewriteHeader();
    await rememberWhatItHolds(overlay, present);
    return counts.writtenBytes;
  } finally {
    reading?.withdraw();
    await old?.close();
    await workers?.close();
    await present.source.close();
  }
}

/** The guest's bytes are as they were. */
async function rememberWhatItHolds(
  { store, file, allowBacking }: OverlayToChange,
  { files }: OpenDisk,
): Promise<void> {
  const known = files && (await store.statCache.get(files));
  if (known !== undefined) await rememberChanged(store, file, { format: 'qcow2', allowBacking }, known);
}
