import { TABLE_ENTRY_BYTES } from './layout.ts';

/*
 * An entry of the refcount table (specification, section "Host cluster management"), taken as two halves of 32
 * bits like entries of other tables:
 *
 *   bits 0-8   reserved
 *   bits 9-63  offset of a refcount block, one cluster, a multiple of the cluster size; 0: all its refcounts are 0
 */
const LOW_RESERVED = 0x1ff;
const LOW_OFFSET = 0xffff_fe00;
const WORD = 2 ** 32;

/** What one entry says. */
export interface RefcountTableEntry {
  /** Host offset of the block in bytes, 0 for none. Above 2^53 it is rounded, but stays above. */
  readonly offset: number;
  /** Bits that must be zero are not. */
  readonly reserved: boolean;
  /** The offset is a multiple of the cluster size. */
  readonly aligned: boolean;
}

/** Entry `index` of a table that holds at least that many. @param clusterSize in bytes, a power of two. */
export function refcountTableEntry(table: Buffer, index: number, clusterSize: number): RefcountTableEntry {
  const at = index * TABLE_ENTRY_BYTES;
  const low = table.readUInt32BE(at + 4);
  const place = (low & LOW_OFFSET) >>> 0;
  return {
    offset: table.readUInt32BE(at) * WORD + place,
    reserved: (low & LOW_RESERVED) !== 0,
    // Rounding loses low bits, so alignment is told from the low half: no cluster is larger than it.
    aligned: place % clusterSize === 0,
  };
}
