/*
 * Encodes entries of L2 tables (specification, sections "Cluster mapping" and "Extended L2 Entries") in two halves
 * of 32 bits, high and low.
 *
 *   standard cluster       bit 0 reads as zeros; bits 9-55 host offset; 62 = 0; 63 copied
 *   compressed cluster     62 = 1; x = 62 - (cluster_bits - 8): bits 0 to x-1 host offset in bytes, bits x to 61
 *                          number of 512-byte sectors beyond the first
 *   extended, second half  bits 0-31 subcluster allocated; bits 32-63 subcluster reads as zeros
 */
const HIGH_COPIED = 0x8000_0000;
const HIGH_COMPRESSED = 0x4000_0000;
const LOW_ZERO = 1;
const WORD = 2 ** 32;
const SECTOR = 512;
const LOW_AT = 4;
const ZEROS_AT = 8;
const ALLOCATED_AT = 12;

/** All 32 subclusters of a cluster. */
export const ALL_SUBCLUSTERS = 0xffff_ffff;

/** What a standard entry says besides its offset. */
export interface StandardFlags {
  /** The host cluster has refcount 1, so it may be written in place. */
  readonly copied: boolean;
  /** Reads as zeros; not for extended entries, whose second half says it. */
  readonly zero: boolean;
}

/** Writes a standard entry, or the first half of an extended one. @param offset host bytes, 0 for no place. */
export function writeStandardEntry(table: Buffer, at: number, offset: number, flags: StandardFlags): void {
  const high = Math.floor(offset / WORD) | (flags.copied ? HIGH_COPIED : 0);
  table.writeUInt32BE(high >>> 0, at);
  table.writeUInt32BE(((offset % WORD) | (flags.zero ? LOW_ZERO : 0)) >>> 0, at + LOW_AT);
}

/** Writes the second half of an extended entry: one bit for each subcluster, the first lowest. */
export function writeSubclusterBits(table: Buffer, at: number, allocated: number, zeros: number): void {
  table.writeUInt32BE(zeros >>> 0, at + ZEROS_AT);
  table.writeUInt32BE(allocated >>> 0, at + ALLOCATED_AT);
}

/** Host bytes from which on no compressed cluster may begin. */
export function compressedOffsetLimit(clusterBits: number): number {
  return 2 ** compressedSplit(clusterBits);
}

/**
 * Writes the entry of a compressed cluster.
 * @param offset of the stream, in host bytes, below {@link compressedOffsetLimit}. @param length 1 to a cluster.
 */
export function writeCompressedEntry(
  table: Buffer,
  at: number,
  clusterBits: number,
  offset: number,
  length: number,
): void {
  const sectors = Math.floor((offset + length - 1) / SECTOR) - Math.floor(offset / SECTOR);
  const split = compressedSplit(clusterBits) - 32;
  const high = (HIGH_COMPRESSED | (sectors << split) | Math.floor(offset / WORD)) >>> 0;
  table.writeUInt32BE(high, at);
  table.writeUInt32BE(offset % WORD, at + LOW_AT);
}

function compressedSplit(clusterBits: number): number {
  return 62 - (clusterBits - 8);
}
