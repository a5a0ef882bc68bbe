import { lstat, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';
import { PendingFile } from '../../files/index.ts';

/**
 * Writes a new file by `write` under a temporary name beside its place and renames it at the end, so that there is never a part of one.
 * It is not fsynced: its bytes are in the store.
 * @throws ImgstoreError `EXISTS` unless `force`, `IO`, and what `write` throws; the temporary file is then gone
 */
export async function writeOutputFile<T>(
  path: string,
  force: boolean,
  write: (file: PendingFile) => Promise<T>,
): Promise<T> {
  await refuseExisting(path, force);
  const file = await createBeside(path);
  try {
    const result = await write(file);
    await refuseExisting(path, force);
    await file.rename(path);
    return result;
  } catch (error) {
    await file.discard();
    throw error;
  }
}

async function createBeside(path: string): Promise<PendingFile> {
  const folder = dirname(resolve(path));
  try {
    if (!(await stat(folder)).isDirectory())
      throw new ImgstoreError('IO', `${folder}: is no folder`, { path: folder });
    return await PendingFile.create('checkout', folder, { prefix: `.${basename(path)}.tmp_` });
  } catch (error) {
    throw fromSystem(error, folder);
  }
}

async function refuseExisting(path: string, force: boolean): Promise<void> {
  try {
    const stats = await lstat(path);
    if (stats.isDirectory()) throw new ImgstoreError('EXISTS', `${path}: is a folder: name a file`, { path });
    if (!stats.isFile() && !stats.isSymbolicLink())
      throw new ImgstoreError('EXISTS', `${path}: is not a regular file`, { path });
    if (!force)
      throw new ImgstoreError(
        'EXISTS',
        `${path}: exists already: choose another name, or pass --force to replace it`,
        { path },
      );
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fromSystem(error, path);
  }
}
