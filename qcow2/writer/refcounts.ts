import type { WriteTarget } from '../../block/index.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import { REFCOUNT_BYTES, type RefcountLayout } from '../meta/refcount.ts';

/** Blocks are alike, so many are written at once. */
const BATCH_BYTES = 2 * 1024 * 1024;

/**
 * Writes the refcount table at `offset` and its blocks after it, for a file in which every cluster is used once.
 * The last block ends the file, and all of it is written, so the file gets its full length.
 */
export async function writeRefcounts(
  target: WriteTarget,
  offset: number,
  { blocks, tableClusters, totalClusters }: RefcountLayout,
  clusterSize: number,
): Promise<void> {
  const firstBlock = offset + tableClusters * clusterSize;
  const table = Buffer.alloc(tableClusters * clusterSize);
  for (let i = 0; i < blocks; i++) {
    table.writeBigUInt64BE(BigInt(firstBlock + i * clusterSize), i * TABLE_ENTRY_BYTES);
  }
  await target.write(offset, table);

  const full = Math.min(BATCH_BYTES, blocks * clusterSize);
  const ones = Buffer.alloc(full).fill(Buffer.from([0, 1]));
  const end = firstBlock + blocks * clusterSize;
  // What lies beyond the file's last cluster counts as unused.
  const countsEnd = firstBlock + totalClusters * REFCOUNT_BYTES;
  for (let at = firstBlock; at < end; at += full) {
    const piece = ones.subarray(0, Math.min(full, end - at));
    if (at + piece.length > countsEnd) piece.fill(0, Math.max(0, countsEnd - at));
    await target.write(at, piece);
  }
}
