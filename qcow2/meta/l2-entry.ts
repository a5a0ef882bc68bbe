/*
 * Entries of L1 and L2 tables (specification, sections "Cluster mapping" and "Extended L2 Entries"), taken as two
 * halves of 32 bits, high and low: a walk over a table makes millions of these, and BigInt would cost ten times
 * as much as halves do.
 *
 *   L1 entry               bits 9-55 offset of an L2 table; 63 copied
 *   standard cluster       bit 0 reads as zeros; bits 9-55 host offset; 62 = 0; 63 copied
 *   compressed cluster     62 = 1; x = 62 - (cluster_bits - 8): bits 0 to x-1 host offset in bytes, bits x to 61
 *                          number of 512-byte sectors beyond the first
 *   extended, second half  bits 0-31 subcluster allocated; bits 32-63 subcluster reads as zeros
 */
const HIGH_COPIED = 0x8000_0000;
const HIGH_COMPRESSED = 0x4000_0000;
const HIGH_OFFSET = 0x00ff_ffff;
const LOW_OFFSET = 0xffff_fe00;
const LOW_ZERO = 1;
const WORD = 2 ** 32;
const SECTOR = 512;

/**
 * What a table says of a cluster or subcluster:
 * - `data`: bytes at a host offset;
 * - `zero`: reads as zeros and hides the backing file;
 * - `compressed`: a whole cluster, compressed;
 * - `unallocated`: read the backing file.
 */
export type ClusterKind = 'data' | 'zero' | 'compressed' | 'unallocated';

/** Host offset of bits 9 to 55, in bytes. Above 2^53 it is rounded, but stays above. */
export function entryOffset(high: number, low: number): number {
  return (high & HIGH_OFFSET) * WORD + ((low & LOW_OFFSET) >>> 0);
}

/**
 * Kind of a standard L2 entry.
 * @param offsetZeroIsData with an external data file the cluster at offset 0 is data if its copied bit is set.
 */
export function standardKind(high: number, low: number, offsetZeroIsData: boolean): ClusterKind {
  if ((high & HIGH_COMPRESSED) !== 0) return 'compressed';
  if ((low & LOW_ZERO) !== 0) return 'zero';
  return allocatedKind(high, low, offsetZeroIsData);
}

/** Kind of the first half of an extended L2 entry, in which bit 0 means nothing: never `zero`. */
export function extendedKind(high: number, low: number, offsetZeroIsData: boolean): ClusterKind {
  if ((high & HIGH_COMPRESSED) !== 0) return 'compressed';
  return allocatedKind(high, low, offsetZeroIsData);
}

function allocatedKind(high: number, low: number, offsetZeroIsData: boolean): ClusterKind {
  if ((high & HIGH_OFFSET) !== 0 || (low & LOW_OFFSET) !== 0) return 'data';
  return offsetZeroIsData && (high & HIGH_COPIED) !== 0 ? 'data' : 'unallocated';
}

/**
 * Kind of one subcluster.
 * @param cluster kind of the entry's first half, `data` or `unallocated`.
 * @param zeros bits 32-63 of the bitmap. @param allocated bits 0-31. @param index 0 to 31.
 * @returns undefined when the bitmap contradicts itself or the first half.
 */
export function subclusterKind(
  cluster: 'data' | 'unallocated',
  zeros: number,
  allocated: number,
  index: number,
): ClusterKind | undefined {
  if ((zeros & allocated) !== 0) return undefined;
  if (cluster === 'unallocated' && allocated !== 0) return undefined;
  if (((zeros >>> index) & 1) !== 0) return 'zero';
  return ((allocated >>> index) & 1) !== 0 ? 'data' : 'unallocated';
}

/**
 * Host range of a compressed cluster in bytes. `length` is what the stored sectors hold from `offset` on, at
 * least 1, at most twice a cluster; the stream ends somewhere within.
 */
export function compressedRange(
  high: number,
  low: number,
  clusterBits: number,
): { readonly offset: number; readonly length: number } {
  // x - 32: the split always lies in the high half, since cluster_bits is at most 21 (x = 49).
  const split = 62 - (clusterBits - 8) - 32;
  const described = high & ~(HIGH_COPIED | HIGH_COMPRESSED);
  const sectors = (described >>> split) + 1;
  const offset = (described & (2 ** split - 1)) * WORD + (low >>> 0);
  return { offset, length: sectors * SECTOR - (offset % SECTOR) };
}

/** Entry of a standard cluster with refcount 1 at `offset` (a multiple of 512, below 2^53), or of its L2 table. */
export function copiedEntry(offset: number): bigint {
  return (1n << 63n) | BigInt(offset);
}

/** Entry of a cluster that reads as zeros and has no place in the file (version 3). */
export const ZERO_ENTRY = 1n;
