import { readdirSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LockFile, removeLeftBehindIn } from '../../files/index.ts';
import type { ObjectDatabase } from './database.ts';

/** Folders of a store in which there are locks, and temporary files beside them. */
const LOCKED = ['.', 'refs', 'logs', 'objects/pack', 'imgstore', 'imgstore/locks'];

const LOCK = '.lock';

/**
 * Removes what dead processes of this machine have left in a store: temporary files beside packs (`tmp_*`), loose objects (`tmp_obj_*`) and refs
 * (`.tmp_*`), folders that are empty then, and locks, which would keep git out. Returns the paths of the temporary files that are gone.
 * @throws ImgstoreError `IO`
 */
export async function removeLeftBehind({ packs, loose }: ObjectDatabase): Promise<string[]> {
  const removed = await removeLeftBehindIn('pack', packs.folder, 'tmp_');
  for (let i = 0; i < 256; i++) {
    const folder = join(loose.folder, i.toString(16).padStart(2, '0'));
    const gone = await removeLeftBehindIn('loose', folder, 'tmp_obj_');
    // One that has something in it stays: rmdir refuses.
    if (gone.length > 0) await rmdir(folder).catch(() => {});
    removed.push(...gone);
  }
  const store = dirname(loose.folder);
  for (const name of LOCKED)
    for (const folder of name === 'refs' || name === 'logs'
      ? foldersBelow(join(store, name))
      : [join(store, name)]) {
      for (const prefix of ['.tmp_', 'tmp_'])
        removed.push(...(await removeLeftBehindIn('ref', folder, prefix)));
      await removeStaleLocks(folder);
    }
  return removed;
}

async function removeStaleLocks(folder: string): Promise<void> {
  for (const { name } of entriesOf(folder).filter((entry) => entry.isFile() && entry.name.endsWith(LOCK)))
    await LockFile.removeStale('ref', join(folder, name.slice(0, -LOCK.length)));
}

/** A folder and all below it. */
function foldersBelow(folder: string): string[] {
  const below = entriesOf(folder).filter((entry) => entry.isDirectory());
  return [folder, ...below.flatMap(({ name }) => foldersBelow(join(folder, name)))];
}

/** None for a folder that is not there, or may not be read: others remove folders of refs at any time. */
function entriesOf(folder: string): import('node:fs').Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}
