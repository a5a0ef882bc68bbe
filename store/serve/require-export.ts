import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { NbdSource } from '../../nbd/index.ts';
import { wholeSectors } from '../../qcow2/index.ts';
import type { VersionDisk } from '../version/version.ts';
import { exportUri } from './export-uri.ts';

/** Makes sure that the server on a socket shows a version's disk: it may be another store's, or not one of ours at all. @throws ImgstoreError `NBD` */
export async function requireExport(socket: string, exportName: string, disk: VersionDisk): Promise<void> {
  const label = exportUri(socket, exportName);
  const wrong = (why: string, cause?: unknown) =>
    new ImgstoreError(
      'NBD',
      `${socket}: the server there does not show version ${disk.version.slice(0, 12)}: ${why}: name another with --socket`,
      { path: socket, export: exportName },
      cause,
    );
  let size: number;
  try {
    const source = await NbdSource.open({ address: { path: socket }, exportName }, { label });
    ({ size } = source);
    await source.close();
  } catch (error) {
    if (!isImgstoreError(error)) throw error;
    throw wrong(error.message, error);
  }
  if (wholeSectors(size) !== wholeSectors(disk.virtualSize))
    throw wrong(`its export of that name has ${size} bytes, not ${disk.virtualSize}`);
}
