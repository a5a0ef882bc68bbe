/*
 * Bits of L1 and L2 entries that only a check looks at, in halves of 32 bits like all of meta/l2-entry.ts:
 *
 *   L1 entry            bits 0-8 and 56-62 reserved; 63 copied
 *   standard L2 entry   bits 1-8 and 56-61 reserved; 63 copied
 */
const HIGH_COPIED = 0x8000_0000;
const L1_HIGH_RESERVED = 0x7f00_0000;
const L1_LOW_RESERVED = 0x0000_01ff;
const L2_HIGH_RESERVED = 0x3f00_0000;
const L2_LOW_RESERVED = 0x0000_01fe;
const LOW_ZERO = 1;

/** "The refcount of what this entry points at is exactly one." */
export function isCopied(high: number): boolean {
  return (high & HIGH_COPIED) !== 0;
}

export function hasL1ReservedBits(high: number, low: number): boolean {
  return (high & L1_HIGH_RESERVED) !== 0 || (low & L1_LOW_RESERVED) !== 0;
}

/** Of a standard or extended entry, not of a compressed one. */
export function hasL2ReservedBits(high: number, low: number): boolean {
  return (high & L2_HIGH_RESERVED) !== 0 || (low & L2_LOW_RESERVED) !== 0;
}

/** The zero flag of a standard entry; means nothing in an extended one. */
export function isZeroFlagged(low: number): boolean {
  return (low & LOW_ZERO) !== 0;
}

/** An entry as people find it in a dump. */
export function entryText(high: number, low: number): string {
  return `0x${high.toString(16).padStart(8, '0')}${low.toString(16).padStart(8, '0')}`;
}
