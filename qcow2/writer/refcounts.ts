import type { WriteTarget } from '../../block/index.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import { refcountLayout } from '../meta/refcount.ts';
import { refcountsPerBlock } from '../meta/refcount-block.ts';
import { fillRefcounts } from '../meta/refcount-encode.ts';
import type { CountRun } from './host-counts.ts';
import type { HostSpace } from './host-space.ts';

/** Blocks are written many at once. */
const BATCH_BYTES = 2 * 1024 * 1024;

/** Where the refcounts are, and where the file ends. */
export interface WrittenRefcounts {
  /** Host bytes. */
  readonly tableOffset: number;
  readonly tableClusters: number;
  /** Bytes. */
  readonly fileSize: number;
}

/**
 * Writes the refcount table and its blocks behind everything else, for what was handed out and for themselves. The
 * last block ends the file, and all of it is written, so the file gets its full length.
 */
export async function writeRefcounts(target: WriteTarget, space: HostSpace): Promise<WrittenRefcounts> {
  const { clusterSize, refcountOrder: order } = space;
  const { blocks, tableClusters, totalClusters } = refcountLayout(space.clusters, clusterSize, order);
  const tableOffset = space.end;
  const firstBlock = tableOffset + tableClusters * clusterSize;
  const table = Buffer.alloc(tableClusters * clusterSize);
  for (let i = 0; i < blocks; i++) {
    table.writeBigUInt64BE(BigInt(firstBlock + i * clusterSize), i * TABLE_ENTRY_BYTES);
  }
  await target.write(tableOffset, table);

  const perBatch = Math.max(1, Math.floor(BATCH_BYTES / clusterSize));
  const perBlock = refcountsPerBlock(order, clusterSize);
  const buffer = Buffer.alloc(Math.min(perBatch, blocks) * clusterSize);
  for (let block = 0; block < blocks; block += perBatch) {
    const piece = buffer.subarray(0, Math.min(perBatch, blocks - block) * clusterSize);
    const from = block * perBlock;
    // What lies beyond the file's last cluster counts as unused.
    const to = Math.min((block + perBatch) * perBlock, totalClusters);
    fillPiece(order, piece.fill(0), space.counts(from, to));
    await target.write(firstBlock + block * clusterSize, piece);
  }
  return { tableOffset, tableClusters, fileSize: totalClusters * clusterSize };
}

function fillPiece(order: number, piece: Buffer, runs: Iterable<CountRun>): void {
  let at = 0;
  for (const { count, length } of runs) {
    fillRefcounts(order, piece, at, at + length, count);
    at += length;
  }
}
