import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';

/** What a path leads to, for comparison with others. */
interface Place {
  /** With the folder's links resolved, but not the last name: that is what a rename replaces. */
  readonly path: string;
  /** `st_dev:st_ino` of what is there, through links; undefined for nothing. */
  readonly inode: string | undefined;
}

/**
 * Refuses an output that is one of the files that it is to stand on, by whatever name: the new file would be its own
 * backing file, and the only copy of the bytes below it would be gone.
 * @param below paths of all files of the chain, made already or not
 * @throws ImgstoreError `USAGE`
 */
export async function refuseOwnBacking(output: string, below: readonly string[]): Promise<void> {
  const own = await placeOf(output);
  for (const path of below) {
    const other = await placeOf(path);
    if (own.path !== other.path && (own.inode === undefined || own.inode !== other.inode)) continue;
    throw new ImgstoreError(
      'USAGE',
      `${output}: cannot be its own backing file: it would stand on ${JSON.stringify(path)}: choose another name`,
      { path: output, backing: path },
    );
  }
}

/** Refuses an output among the store's own files. @throws ImgstoreError `USAGE` */
export async function refuseInStore(output: string, store: string): Promise<void> {
  const { path } = await placeOf(output);
  const way = relative(await realpath(store), path);
  // The folder itself is refused as any folder is.
  if (way === '' || way === '..' || way.startsWith(`..${sep}`)) return;
  throw new ImgstoreError('USAGE', `${output}: is in the store's own folder: choose another place`, {
    path: output,
  });
}

async function placeOf(path: string): Promise<Place> {
  const folder = dirname(resolve(path));
  try {
    return { path: join(await realpath(folder), basename(resolve(path))), inode: await inodeAt(path) };
  } catch (error) {
    throw fromSystem(error, folder);
  }
}

async function inodeAt(path: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    // A link that leads nowhere, or in a circle, leads to none of the files below either.
    if (['ENOENT', 'ELOOP'].includes(systemCode(error) ?? '')) return undefined;
    throw fromSystem(error, path);
  }
}
