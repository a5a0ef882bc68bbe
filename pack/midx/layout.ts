import { ID_BYTES } from '../../objects/index.ts';

/**
 * A multi-pack-index of version 1 (git: gitformat-pack, "multi-pack-index (MIDX) files have the following format"). C is the number of
 * chunks, P of packs, N of objects, M of offsets of 2 GiB and more.
 *
 * ```text
 * 0    4             'MIDX'
 * 4    1             version 1
 * 5    1             hash function: 2 is SHA-256
 * 6    1             C
 * 7    1             number of multi-pack-indexes that this one builds on: 0
 * 8    4             P
 * 12   (C + 1) × 12  name of a chunk, 4 bytes, and where it begins, 8; the last row has the name 0 and says where the chunks end
 *                    PNAM  names of the packs' indexes, ascending, each with a zero byte behind; zeros up to a multiple of 4
 *      256 × 4       OIDF  fan-out: objects whose first byte is at most i
 *      N × 32        OIDL  ids, ascending
 *      N × 8         OOFF  number of the pack in PNAM, 4 bytes, and offset in it, 4
 *      M × 8         LOFF  offsets of 64 bits; only when an offset does not fit 32 bits
 *      32            SHA-256 of everything before
 * ```
 *
 * With LOFF, an offset in OOFF with the top bit set is a place in LOFF. Without, all its 32 bits are the offset.
 */
export const MIDX_FILE = 'multi-pack-index';
export const MIDX_SIGNATURE = 0x4d494458;
export const MIDX_VERSION = 1;
export const HASH_SHA256 = 2;

export const VERSION_AT = 4;
export const HASH_AT = VERSION_AT + 1;
export const CHUNK_COUNT_AT = HASH_AT + 1;
export const BASE_COUNT_AT = CHUNK_COUNT_AT + 1;
export const PACK_COUNT_AT = BASE_COUNT_AT + 1;
export const CHUNK_TABLE_AT = PACK_COUNT_AT + 4;

export const CHUNK_NAME_BYTES = 4;
export const CHUNK_ROW_BYTES = CHUNK_NAME_BYTES + 8;
/** Chunks begin at multiples of this. */
export const CHUNK_ALIGNMENT = 4;

export const PACK_NAMES = 0x504e414d;
export const FAN_OUT = 0x4f494446;
export const IDS = 0x4f49444c;
export const PLACES = 0x4f4f4646;
export const LARGE_OFFSETS = 0x4c4f4646;

export const PACK_NUMBER_BYTES = 4;
export const PLACE_BYTES = PACK_NUMBER_BYTES + 4;
export const LARGE_OFFSET_BYTES = 8;
export const LARGE_OFFSET_FLAG = 0x80000000;
/** Beyond this, an offset does not fit OOFF even without LOFF. */
export const MOST_SMALL_OFFSET = 0xffffffff;

export const MIDX_TRAILER_BYTES = ID_BYTES;
