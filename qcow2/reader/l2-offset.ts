import type { BlockSource } from '../../block/index.ts';
import { geometryOf } from '../meta/geometry.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { entryOffset } from '../meta/l2-entry.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';

/**
 * Where the L2 table that describes a guest cluster lies, in bytes from the start of the file; undefined when there is none.
 * @param host the image's file
 * @throws ImgstoreError `IO`
 */
export async function l2TableOffset(
  host: BlockSource,
  { l1Offset, l1Entries, clusterBits, extendedL2 }: Qcow2Header,
  cluster: number,
): Promise<number | undefined> {
  const { clusterSize, l2Span } = geometryOf(clusterBits, extendedL2);
  const index = Math.floor((cluster * clusterSize) / l2Span);
  const at = l1Offset + index * TABLE_ENTRY_BYTES;
  if (index >= l1Entries || at + TABLE_ENTRY_BYTES > host.size) return undefined;
  const entry = Buffer.alloc(TABLE_ENTRY_BYTES);
  await host.read(at, entry);
  const offset = entryOffset(entry.readUInt32BE(0), entry.readUInt32BE(4));
  return offset === 0 ? undefined : offset;
}
