import type { FoundForeign } from '../../qcow2/index.ts';
import { checkForeign } from '../foreign/check.ts';
import { NamedFiles } from '../foreign/named-files.ts';
import { openForeign } from '../foreign/open.ts';
import { allowedFolders, type OpenDisk, type OpenDiskOptions } from './disk.ts';
import { refuseInUse } from './in-use.ts';
import { nowNs, WatchedFiles } from './watched-files.ts';

/**
 * Opens an image of a format that QEMU reads for us.
 * @param guessed its name does not say that it has this format
 * @throws ImgstoreError as {@link openDisk} does, and `NBD`
 */
export async function openForeignDisk(
  path: string,
  { format, guessed }: FoundForeign,
  options: OpenDiskOptions,
): Promise<OpenDisk> {
  const lookedNs = nowNs();
  const forceShare = options.forceShare ?? false;
  const named = new NamedFiles(allowedFolders(path, options), guessed);
  try {
    await checkForeign(path, format, named);
    const { files } = named;
    if (!forceShare) for (const file of files) await refuseInUse(file.path);
    const watched = await WatchedFiles.look(files, lookedNs);
    const allocatedBytes = await watched.allocatedBytes();
    const source = await openForeign(path, format, files, forceShare);
    return {
      path,
      source,
      facts: { format },
      paths: watched.identities.map((file) => file.path),
      notices: [],
      allocatedBytes,
      expectedBytes: Math.min(source.size, allocatedBytes),
      files: { format, identities: watched.identities },
      bases: [],
      lookedNs,
      refuseChanged: async () => {
        if (!forceShare) await watched.refuseChanged();
      },
    };
  } catch (error) {
    await named.close();
    throw error;
  }
}
