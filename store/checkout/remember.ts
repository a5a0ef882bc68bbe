import { setTimeout as sleep } from 'node:timers/promises';
import type { InPlaceFile } from '../../block/index.ts';
import { isImgstoreError } from '../../errors/index.ts';
import type { ImageFormat } from '../../qcow2/index.ts';
import { openDisk } from '../commit/open-disk.ts';
import { type KnownFile, SETTLE_MS } from '../stat-cache.ts';
import type { Store } from '../store.ts';
import type { CheckoutJob } from './job.ts';

/** A file that holds a version. */
export interface WrittenFile {
  readonly path: string;
  /** What it was written as: a raw disk may look like something else. */
  readonly format: ImageFormat;
  readonly allowBacking: readonly string[];
  /** Of the file when it was complete: another one now means that somebody has written to it since. */
  readonly mtimeNs: bigint;
  /** The locks on it are the caller's. */
  readonly isLockedHere?: boolean | undefined;
}

/** Notes in the stat cache what a new file holds, so that committing it unchanged reads nothing and an overlay on it finds its parent. */
export async function rememberOutput(
  { store, commit, disk, clusters, path, allowBacking, damage }: CheckoutJob,
  format: ImageFormat,
  mtimeNs: bigint,
): Promise<void> {
  // It holds no version, or stands on a file that holds none.
  if (damage !== undefined && !damage.isEmpty) return;
  await rememberFile(store, { path, format, allowBacking, mtimeNs }, { commit, disk: disk.name, clusters });
}

/** Notes in the stat cache what a file holds that was changed where it is. @param file whose locks are held */
export async function rememberChanged(
  store: Store,
  file: InPlaceFile,
  opening: Pick<WrittenFile, 'format' | 'allowBacking'>,
  known: KnownFile,
): Promise<void> {
  const mtimeNs = await file.mtimeNs();
  // Past this tick of the clock, every later write shows in the file's times: nobody else may write before.
  await sleep(SETTLE_MS);
  await rememberFile(store, { path: file.path, ...opening, mtimeNs, isLockedHere: true }, known);
}

/** Notes in the stat cache what a file holds. */
async function rememberFile(
  store: Store,
  { path, format, allowBacking, mtimeNs, isLockedHere }: WrittenFile,
  known: KnownFile,
): Promise<void> {
  try {
    const file = await openDisk(path, { format, allowBacking, isLockedHere });
    try {
      if (file.files?.identities[0]?.mtimeNs !== String(mtimeNs)) return;
      await store.statCache.put(file.files, file.lookedNs, known);
    } finally {
      await file.source.close();
    }
  } catch (error) {
    // The file is complete; that it cannot be opened under the rules for images (a backing file elsewhere) costs time later only.
    if (!isImgstoreError(error)) throw error;
  }
}
