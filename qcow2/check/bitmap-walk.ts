import { type BitmapEntry, bitmapTableBytes, directoryRange, parseBitmapDirectory } from '../meta/bitmap.ts';
import { bitmapCluster } from '../meta/bitmap-table.ts';
import { entryOffset } from '../meta/l2-entry.ts';
import { SECTOR, TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import type { WalkParts } from './snapshot-walk.ts';

/**
 * Counts the bitmap directory, the tables of all bitmaps and their data.
 *
 * Without the header's autoclear bit 0 the directory may be old, and what it names given to others: it counts as
 * unused, which shows as leaks.
 * @throws ImgstoreError `BAD_IMAGE` for a directory that cannot be read; all that its bitmaps use would seem leaked.
 */
export async function walkBitmaps(parts: WalkParts): Promise<void> {
  const { header, geometry, tables, references, image } = parts;
  if (header.bitmaps === undefined || !header.bitmaps.consistent) return;
  const rules = { clusterSize: geometry.clusterSize, virtualSize: header.virtualSize, image };
  const { offset, length } = directoryRange(header.bitmaps, rules, tables.size);
  references.add(offset, length, () => 'the bitmap directory');
  parts.limit.spend(length);
  const directory = await tables.table(offset, length);
  for (const bitmap of parseBitmapDirectory(directory, header.bitmaps.count, rules)) {
    await walkTable(parts, bitmap);
  }
}

async function walkTable(parts: WalkParts, bitmap: BitmapEntry): Promise<void> {
  const { geometry, tables, references, findings } = parts;
  const { tableOffset } = bitmap;
  const bytes = bitmapTableBytes(bitmap);
  const name = `bitmap ${JSON.stringify(bitmap.name)}`;
  if (!references.add(tableOffset, bytes, () => `the table of ${name}`)) return;
  parts.limit.spend(bytes);
  let first = 0;
  for await (const piece of tables.pieces(tableOffset, bytes)) {
    for (let at = 0; at < piece.length; at += TABLE_ENTRY_BYTES) {
      const index = first + at / TABLE_ENTRY_BYTES;
      const high = piece.readUInt32BE(at);
      const low = piece.readUInt32BE(at + 4);
      const place =
        bitmapCluster(high, low, geometry.clusterSize) ?? farPlace(high, low, geometry.clusterSize);
      if (place === undefined) {
        // As in QEMU: what the bitmap uses is not known, so leaks cannot be told.
        findings.add(
          'error',
          tableOffset + index * TABLE_ENTRY_BYTES,
          () => `entry ${index} of the table of ${name} is not valid`,
        );
      } else if (typeof place === 'number') {
        references.add(place, geometry.clusterSize, () => `entry ${index} of the table of ${name}`);
      }
    }
    first += piece.length / TABLE_ENTRY_BYTES;
  }
}

/** The offset of an entry that is valid but for lying beyond 2^53, and so behind the end of any file. */
function farPlace(high: number, low: number, clusterSize: number): number | undefined {
  const offset = entryOffset(high, low);
  const isPlain = high >>> 24 === 0 && low % SECTOR === 0 && offset % clusterSize === 0;
  return isPlain && offset > Number.MAX_SAFE_INTEGER - clusterSize ? offset : undefined;
}
