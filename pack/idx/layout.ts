import { ID_BYTES } from '../../objects/index.ts';
import { FAN_OUT_BYTES } from '../id-table.ts';

/**
 * A pack index of version 2 (git: gitformat-pack, "Version 2 pack-*.idx files"). N is the number of objects, M the number
 * of entries at or beyond 2 GiB.
 *
 * ```text
 * 0     4        \377tOc
 * 4     4        version 2
 * 8     256 × 4  fan-out: objects whose first byte is at most i
 *       N × 32   ids, ascending
 *       N × 4    CRC-32 of each entry as packed
 *       N × 4    offset in the pack; with the top bit set, the rest is a place in the next table
 *       M × 8    offsets of 64 bits
 *       32       checksum of the pack
 *       32       SHA-256 of everything before
 * ```
 */
export const IDX_SIGNATURE = 0xff744f63;
export const IDX_VERSION = 2;
export const FAN_OUT_AT = 8;
export const IDS_AT = FAN_OUT_AT + FAN_OUT_BYTES;
export const CRC_BYTES = 4;
export const OFFSET_BYTES = 4;
export const LARGE_OFFSET_BYTES = 8;
export const LARGE_OFFSET_FLAG = 0x80000000;
/** Bytes behind the tables: the pack's checksum and the index's own. */
export const IDX_TRAILER_BYTES = 2 * ID_BYTES;
/** Bytes that an object takes in the tables, not counting a large offset. */
export const ROW_BYTES = ID_BYTES + CRC_BYTES + OFFSET_BYTES;
