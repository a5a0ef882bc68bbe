import { ImgstoreError } from '../../errors/index.ts';
import { NbdSource, parseNbdUri } from '../../nbd/index.ts';
import type { OpenDisk, OpenDiskOptions } from './disk.ts';
import { nowNs } from './watched-files.ts';

/**
 * Opens an export of an NBD server. What it holds may change at any time, and nothing tells: no cache knows it.
 * @throws ImgstoreError `USAGE`, `NBD`, `NOT_FOUND`, `UNSUPPORTED`
 */
export async function openNbdDisk(uri: string, options: OpenDiskOptions): Promise<OpenDisk> {
  if (options.format !== undefined && options.format !== 'raw') {
    throw new ImgstoreError(
      'USAGE',
      `${uri}: an NBD server shows the disk itself: --format ${options.format} has no meaning for it`,
      { uri },
    );
  }
  const source = await NbdSource.open(parseNbdUri(uri), { label: uri });
  return {
    path: uri,
    source,
    facts: { format: 'nbd' },
    paths: [],
    notices: [],
    allocatedBytes: undefined,
    expectedBytes: source.size,
    files: undefined,
    bases: [],
    lookedNs: nowNs(),
    refuseChanged: async () => {},
  };
}
