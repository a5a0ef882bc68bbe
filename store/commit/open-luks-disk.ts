import { RawFile } from '../../block/index.ts';
import { LuksDisk } from '../../qcow2/index.ts';
import { ENCRYPTED_NOTICE, type OpenDisk, type OpenDiskOptions } from './disk.ts';
import { refuseInUse } from './in-use.ts';
import { nowNs, WatchedFiles } from './watched-files.ts';

/**
 * Opens a file that is a LUKS container, as its key shows it.
 * @throws ImgstoreError as {@link openDisk} does
 */
export async function openLuksDisk(path: string, options: OpenDiskOptions): Promise<OpenDisk> {
  const lookedNs = nowNs();
  const forceShare = options.forceShare ?? false;
  const file = await RawFile.open(path);
  try {
    if (!forceShare) await refuseInUse(file.path);
    const watched = await WatchedFiles.look([file], lookedNs);
    const key = typeof options.key === 'function' ? await options.key(path, 'luks') : options.key;
    const source = await LuksDisk.open(file, { name: path, key });
    return {
      path,
      source,
      facts: { format: 'luks' },
      paths: [file.path],
      notices: [`${path}: ${ENCRYPTED_NOTICE}`],
      allocatedBytes: await watched.allocatedBytes(),
      expectedBytes: source.size,
      files: watched.tell ? { format: 'luks', identities: watched.identities } : undefined,
      bases: [],
      lookedNs,
      refuseChanged: async () => {
        if (!forceShare) await watched.refuseChanged();
      },
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}
