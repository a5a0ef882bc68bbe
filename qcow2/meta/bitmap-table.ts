/*
 * Entry of a bitmap table (specification, section "Bitmap table"), in two halves of 32 bits like entries of L2
 * tables: bit 0 all ones if there is no offset; bits 1-8 reserved; 9-55 host offset; 56-63 reserved.
 */
const HIGH_OFFSET = 0x00ff_ffff;
const LOW_OFFSET = 0xffff_fe00;
const LOW_ONES = 1;
const WORD = 2 ** 32;

/** What a bitmap has in one cluster: bits that are all alike, or its bytes at an offset of the file. */
export type BitmapCluster = 'zeros' | 'ones' | number;

/**
 * One entry of a bitmap's table.
 * @returns undefined when it has reserved bits, or an offset that is not a multiple of `clusterSize` below 2^53.
 */
export function bitmapCluster(high: number, low: number, clusterSize: number): BitmapCluster | undefined {
  const ones = (low & LOW_ONES) !== 0;
  if ((high & ~HIGH_OFFSET) !== 0 || (low & ~(LOW_OFFSET | LOW_ONES)) !== 0) return undefined;
  const offset = high * WORD + ((low & LOW_OFFSET) >>> 0);
  if (offset === 0) return ones ? 'ones' : 'zeros';
  const valid = !ones && offset % clusterSize === 0 && offset <= Number.MAX_SAFE_INTEGER - clusterSize;
  return valid ? offset : undefined;
}
