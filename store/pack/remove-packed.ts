import { existsSync } from 'node:fs';
import { rm, rmdir, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fromSystem, systemCode } from '../../errors/index.ts';
import { passPoint, syncFolder } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { Pack } from '../../pack/index.ts';
import type { Store } from '../store.ts';

/**
 * Removes packs whose objects are all in another pack that is durable and visible. The index goes first: a pack without one is seen by nobody. Readers that have it
 * open go on.
 */
export async function removePacks(store: Store, packs: readonly Pack[]): Promise<void> {
  for (const { stem } of packs) {
    for (const ending of ['idx', 'rev', 'bitmap', 'mtimes', 'pack']) {
      const path = `${stem}.${ending}`;
      try {
        passPoint('pack.remove', path);
        await rm(path, { force: true });
      } catch (error) {
        throw fromSystem(error, path);
      }
    }
  }
  if (packs.length > 0) await syncFolder('pack', store.objects.packs.folder);
}

/** Makes a pack of unreachable objects an ordinary one. @param stem path of the pack without ending */
export async function removeMtimes(stem: string): Promise<void> {
  const path = `${stem}.mtimes`;
  if (!existsSync(path)) return;
  try {
    passPoint('pack.remove', path);
    await rm(path, { force: true });
  } catch (error) {
    throw fromSystem(error, path);
  }
  await syncFolder('pack', dirname(path));
}

/** Removes the files of loose objects that are in a pack that is durable and visible (git: `git prune-packed`), and fan-out folders that are empty then. */
export async function removeLoose(store: Store, ids: readonly ObjectId[]): Promise<void> {
  const folders = new Set<string>();
  for (const id of ids) {
    const path = store.objects.loose.path(id);
    try {
      passPoint('loose.remove', path);
      await unlink(path);
      folders.add(dirname(path));
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw fromSystem(error, path);
    }
  }
  // One that another process has just put an object into is not empty and stays.
  for (const folder of folders) await rmdir(folder).catch(() => {});
}
