import { stat } from 'node:fs/promises';
import { systemCode } from '../../errors/index.ts';
import type { RawExtension } from '../../qcow2/index.ts';
import type { OpenDisk } from '../commit/disk.ts';

/**
 * A header extension beside a bitmap by which a store keeps track of an image: random bytes, under which the bitmap's name is sealed. QEMU keeps it when it writes the header anew, and has none of it in another
 * image, into which bitmaps can be copied: `qemu-img convert --bitmaps -l` gives those of the present disk to a file that holds a snapshot.
 */
export const TYPE_TRACKING_MARK = 0x494d4754;

export const MARK_BYTES = 16;

/** The mark among a header's extensions; undefined when there is none, or none that is as it should be. */
function trackingMark(extensions: readonly RawExtension[]): Uint8Array | undefined {
  const [mark, ...more] = extensions.filter(({ type }) => type === TYPE_TRACKING_MARK);
  return mark?.data.length === MARK_BYTES && more.length === 0 ? mark.data : undefined;
}

/**
 * The mark of an image. One that was never kept track of but while a machine ran has none in its header, which is QEMU's then: there the file itself is the mark, and bitmaps in a copy are of no use.
 */
export async function markOf({ header, files }: OpenDisk): Promise<Uint8Array | undefined> {
  const mark = trackingMark(header?.extensions.list ?? []);
  const file = files?.identities[0];
  if (mark !== undefined || file === undefined) return mark;
  try {
    const { birthtimeNs } = await stat(file.path, { bigint: true });
    return Buffer.from(`file ${file.inode} ${birthtimeNs}`);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}
