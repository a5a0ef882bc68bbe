import { readdir, readlink, stat } from 'node:fs/promises';
import type { RawFile } from '../../block/index.ts';
import { ImgstoreError, systemCode } from '../../errors/index.ts';

/**
 * Judges what QEMU did open, not only what it was expected to: each file and block device that the process holds must be one of
 * those that were checked. This also sees a file that was put in another's place after it was checked. Where there is no /proc
 * nothing can be told.
 * @throws ImgstoreError `FORBIDDEN`
 */
export async function refuseOtherFiles(
  pid: number,
  checked: readonly RawFile[],
  path: string,
): Promise<void> {
  const folder = `/proc/${pid}/fd`;
  const allowed = new Set(await Promise.all(checked.map(async (file) => (await file.identity()).inode)));
  for (const descriptor of await namesIn(folder)) {
    const stats = await stat(`${folder}/${descriptor}`, { bigint: true }).catch(() => undefined);
    if (stats === undefined || !(stats.isFile() || stats.isBlockDevice())) continue;
    if (allowed.has(`${stats.dev}:${stats.ino}`)) continue;
    const name = await readlink(`${folder}/${descriptor}`).catch(() => 'a file without a name');
    throw new ImgstoreError(
      'FORBIDDEN',
      `${path}: made QEMU open ${JSON.stringify(name)}, which is none of the files that the image may name: do not trust this image`,
      { path, name },
    );
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (['ENOENT', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) return [];
    throw error;
  }
}
