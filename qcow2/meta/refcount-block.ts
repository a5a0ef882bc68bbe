/*
 * A refcount block (specification, section "Host cluster management"): one cluster of refcounts, each
 * 2^refcount_order bits wide, orders 0 to 6.
 *
 *   order 0-2  several to a byte, the first in the lowest bits
 *   order 3-6  1, 2, 4 or 8 bytes, big-endian
 */
const WORD = 2 ** 32;

/** The refcount at `index` of a block. Above 2^53 it is rounded, but stays above. */
export type RefcountReader = (block: Buffer, index: number) => number;

const READERS: readonly RefcountReader[] = [
  (block, index) => (block[index >>> 3]! >>> (index & 7)) & 1,
  (block, index) => (block[index >>> 2]! >>> ((index & 3) * 2)) & 3,
  (block, index) => (block[index >>> 1]! >>> ((index & 1) * 4)) & 15,
  (block, index) => block[index]!,
  (block, index) => block.readUInt16BE(index * 2),
  (block, index) => block.readUInt32BE(index * 4),
  (block, index) => block.readUInt32BE(index * 8) * WORD + block.readUInt32BE(index * 8 + 4),
];

/** Reads refcounts of 2^`order` bits, order 0 to 6, as the header's parser has checked. */
export function refcountReader(order: number): RefcountReader {
  return READERS[order]!;
}

/** Refcounts in one block. */
export function refcountsPerBlock(order: number, clusterSize: number): number {
  return (clusterSize * 8) / 2 ** order;
}

/** The largest refcount of that width, rounded above 2^53. */
export function maxRefcount(order: number): number {
  return 2 ** (2 ** order) - 1;
}
