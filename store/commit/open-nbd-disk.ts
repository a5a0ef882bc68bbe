import { ImgstoreError } from '../../errors/index.ts';
import { NbdSource, parseNbdUri } from '../../nbd/index.ts';
import type { OpenDisk, OpenDiskOptions } from './disk.ts';
import { bitmapContext, dirtyRanges } from './nbd-bitmap.ts';
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
  const { bitmap } = options;
  const context = bitmap && bitmapContext(bitmap.name);
  const contexts = context === undefined ? [] : [context];
  const source = await NbdSource.open(parseNbdUri(uri), { label: uri, contexts });
  if (context !== undefined && !source.contexts.includes(context)) {
    await source.close();
    throw new ImgstoreError(
      'NBD',
      `${uri}: the server tells of no dirty bitmap '${bitmap!.name}': see what nbdinfo says, and how the server was started`,
      { uri, bitmap: bitmap!.name },
    );
  }
  const written =
    context === undefined ? undefined : { since: bitmap!.since, dirty: () => dirtyRanges(source, context) };
  return { ...exportedDisk(uri, source), written };
}

/** An export as a disk that no files are known of. */
export function exportedDisk(path: string, source: NbdSource): OpenDisk {
  return {
    path,
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
