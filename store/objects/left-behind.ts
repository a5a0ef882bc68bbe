import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { removeLeftBehindIn } from '../../files/index.ts';
import type { ObjectDatabase } from './database.ts';

/**
 * Removes the temporary files that dead processes of this machine have left among the objects: `tmp_*` beside packs, `tmp_obj_*` beside loose objects,
 * and folders that are empty then. Returns the paths that are gone.
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
  return removed;
}
