import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fromSystem, systemCode } from '../errors/index.ts';
import { namesIn } from './names-in.ts';
import { isLeftBehind } from './owner.ts';
import type { FileKind } from './pending-file.ts';
import { passPoint } from './points.ts';

/** What fails for want of rights. */
const NOT_ALLOWED: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EROFS']);

/**
 * Removes from a folder what processes of this machine that run no more have left there under temporary names: files, and folders with all in them. Those
 * of other machines, of programs that do not say in a name who they are, and of users whose files this one may not remove, stay. Returns the paths that are
 * gone.
 * @param kind names the points, as in a pending file
 * @param prefix what the names begin with
 * @param isInUse of a path: what others still use, whoever made it, stays
 * @throws ImgstoreError `IO`
 */
export async function removeLeftBehindIn(
  kind: FileKind,
  folder: string,
  prefix: string,
  isInUse: (path: string) => Promise<boolean> = async () => false,
): Promise<string[]> {
  const removed: string[] = [];
  for (const name of namesIn(folder, NOT_ALLOWED)) {
    if (!name.startsWith(prefix) || isLeftBehind(name) !== true) continue;
    const path = join(folder, name);
    if (await isInUse(path)) continue;
    try {
      passPoint(`${kind}.remove`, path);
      await rm(path, { force: true, recursive: true });
      removed.push(path);
    } catch (error) {
      if (!NOT_ALLOWED.has(systemCode(error) ?? '')) throw fromSystem(error, path);
    }
  }
  return removed;
}
