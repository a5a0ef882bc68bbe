import { ImgstoreError } from '../../../errors/index.ts';
import { type ImageFormat, wholeSectors } from '../../../qcow2/index.ts';
import type { DiskBase } from '../../commit/disk.ts';
import type { OpenDisk } from '../../commit/open-disk.ts';
import { isSameDisk } from '../../compare/source-diff.ts';
import { claimedBase, type OverlayFile } from '../../origin/doubt.ts';
import { openDiskOnStore } from '../../origin/stored-base.ts';
import type { Monitor } from '../../progress.ts';
import type { Store } from '../../store.ts';
import { diskOfFiles } from '../../version/disk-of-files.ts';
import { hasMap } from '../../version/has-map.ts';
import { tryReadDisk, type VersionDisk } from '../../version/version.ts';
import type { ClusterWorkers } from '../../workers/pool.ts';

/** What an overlay stands on now. */
export interface OldBase {
  readonly disk: VersionDisk;
  /** Throws `IN_USE` when the file has changed since. */
  readonly refuseChanged: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** What is needed to find that out. */
export interface OldBaseSearch {
  readonly store: Store;
  readonly overlay: OverlayFile;
  readonly present: OpenDisk;
  readonly allowBacking: readonly string[];
  /** The version that a file that is gone held, by the user's word. */
  readonly storedBase?: string | undefined;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
}

/**
 * The version's disk that an overlay stands on: the one that stands in for a file that is gone; the one that the stat cache knows; the one that the overlay's header names, if
 * the file, which is read for that, holds just this.
 * @throws ImgstoreError `UNSUPPORTED` when the store does not know what the file holds
 */
export async function findOldBase(search: OldBaseSearch): Promise<OldBase> {
  const { store, overlay, present } = search;
  const isAlone = present.facts.layers === 1;
  if (present.onto !== undefined && isAlone)
    return { disk: present.onto, refuseChanged: async () => {}, close: async () => {} };
  const [base] = present.bases;
  if (base === undefined)
    throw new ImgstoreError('UNSUPPORTED', `${overlay.path}: its backing file cannot be told from another`, {
      path: overlay.path,
    });
  const path = base.files.identities[0]!.path;
  // Behind the format there may be what stands in for a file below.
  const format = base.files.format.split(' ')[0] as ImageFormat;
  // What is gone may lie below the file.
  const storedBase = present.onto && search.storedBase;
  const file = await openDiskOnStore(store, path, { format, allowBacking: search.allowBacking, storedBase });
  try {
    const disk = (await knownDisk(store, base)) ?? (await namedDisk(search, file));
    if (disk !== undefined && (await hasMap(store.objects, disk.map)))
      return { disk, refuseChanged: file.refuseChanged, close: () => file.source.close() };
    throw new ImgstoreError(
      'UNSUPPORTED',
      `${overlay.path}: the store does not know what its backing file ${path} holds: run imgstore commit on that file first`,
      { path: overlay.path, backing: path },
    );
  } catch (error) {
    await file.source.close();
    throw error;
  }
}

async function knownDisk(store: Store, { files, size }: DiskBase): Promise<VersionDisk | undefined> {
  const disk = await diskOfFiles(store, files);
  return disk !== undefined && wholeSectors(disk.virtualSize) === wholeSectors(size) ? disk : undefined;
}

/** Whoever wrote that need not be trusted, as the file itself is looked at: it may have been moved, or touched. */
async function namedDisk(
  { store, overlay, workers, monitor }: OldBaseSearch,
  file: OpenDisk,
): Promise<VersionDisk | undefined> {
  const claim = await claimedBase(overlay, undefined);
  const disk = claim && tryReadDisk(store.objects, claim.base);
  if (disk === undefined || !(await isSameDisk(store.objects, disk, file.source, workers, monitor)))
    return undefined;
  await file.refuseChanged();
  return disk;
}
