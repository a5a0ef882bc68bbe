import { TABLE_ENTRY_BYTES } from './layout.ts';
import { refcountsPerBlock } from './refcount-block.ts';

/** Refcounts of 16 bits: the width that every version has. */
export const DEFAULT_REFCOUNT_ORDER = 4;

/** Clusters that the refcounts of a file take, when they count themselves. */
export interface RefcountLayout {
  /** Refcount blocks, one cluster each. */
  readonly blocks: number;
  /** Clusters of the refcount table that points at them. */
  readonly tableClusters: number;
  /** Clusters of the whole file: those counted, the table and the blocks. */
  readonly totalClusters: number;
}

/**
 * Sizes of the refcount table and blocks (specification, section "Host cluster management") for a file that has
 * `clusters` clusters of `clusterSize` bytes before them.
 *
 * The blocks must also count themselves and their table, so the sizes grow until they no longer change; each
 * round adds less than an eighth of the last.
 * @param order refcounts have 2^order bits.
 */
export function refcountLayout(
  clusters: number,
  clusterSize: number,
  order: number = DEFAULT_REFCOUNT_ORDER,
): RefcountLayout {
  const perBlock = refcountsPerBlock(order, clusterSize);
  let blocks = 0;
  let tableClusters = 0;
  for (;;) {
    const totalClusters = clusters + blocks + tableClusters;
    const neededBlocks = Math.ceil(totalClusters / perBlock);
    const neededTable = Math.ceil((neededBlocks * TABLE_ENTRY_BYTES) / clusterSize);
    if (neededBlocks === blocks && neededTable === tableClusters) {
      return { blocks, tableClusters, totalClusters };
    }
    blocks = neededBlocks;
    tableClusters = neededTable;
  }
}
