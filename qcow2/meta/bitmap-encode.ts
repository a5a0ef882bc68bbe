/*
 * Entry of the bitmap directory (specification, section "Bitmap directory"), padded to a multiple of 8.
 *
 *    0  u64  bitmap_table_offset        17  u8   granularity_bits
 *    8  u32  bitmap_table_size          18  u16  name_size
 *   12  u32  flags: bit 0 in use,       20  u32  extra_data_size
 *            bit 1 auto                 24       the name
 *   16  u8   type, 1: dirty tracking
 *
 * Entry of a bitmap table: bits 9-55 host offset of a cluster of bits; without one bit 0 says what all its bits are.
 *
 * Header extension: u32 number of bitmaps, u32 reserved, u64 directory size in bytes, u64 directory offset.
 */
const TABLE_OFFSET_AT = 0;
const TABLE_SIZE_AT = TABLE_OFFSET_AT + 8;
const FLAGS_AT = TABLE_SIZE_AT + 4;
const TYPE_AT = FLAGS_AT + 4;
const GRANULARITY_BITS_AT = TYPE_AT + 1;
const NAME_SIZE_AT = GRANULARITY_BITS_AT + 1;
const EXTRA_SIZE_AT = NAME_SIZE_AT + 2;
const NAME_AT = EXTRA_SIZE_AT + 4;
const ALIGNMENT = 8;

const FLAG_AUTO = 1 << 1;
const TYPE_DIRTY_TRACKING = 1;

const COUNT_AT = 0;
const DIRECTORY_SIZE_AT = COUNT_AT + 8;
const DIRECTORY_OFFSET_AT = DIRECTORY_SIZE_AT + 8;
const EXTENSION_BYTES = DIRECTORY_OFFSET_AT + 8;

/** QEMU's limits. */
export const MIN_GRANULARITY = 2 ** 9;
export const MAX_GRANULARITY = 2 ** 31;
export const MAX_BITMAP_NAME_BYTES = 1023;
export const MAX_BITMAPS = 65535;
export const MAX_BITMAP_BYTES = 512 * 1024 * 1024;

/** Table entry of a cluster of bits that are all one and have no place in the file. */
export const ALL_ONES = 1n;

/** A bitmap whose bits are in the file. */
export interface NewBitmap {
  /** 1 to 1023 bytes as UTF-8. */
  readonly name: string;
  /** Guest bytes for one bit, a power of two from 512 to 2^31. */
  readonly granularity: number;
  /** Every writer of the image must keep it up. */
  readonly auto: boolean;
  /** Host bytes. */
  readonly tableOffset: number;
  readonly tableEntries: number;
}

/** Encodes one entry of the directory with its padding. */
export function encodeBitmap(bitmap: NewBitmap): Uint8Array {
  const name = new TextEncoder().encode(bitmap.name);
  const bytes = new Uint8Array(Math.ceil((NAME_AT + name.length) / ALIGNMENT) * ALIGNMENT);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(TABLE_OFFSET_AT, BigInt(bitmap.tableOffset));
  view.setUint32(TABLE_SIZE_AT, bitmap.tableEntries);
  view.setUint32(FLAGS_AT, bitmap.auto ? FLAG_AUTO : 0);
  view.setUint8(TYPE_AT, TYPE_DIRTY_TRACKING);
  view.setUint8(GRANULARITY_BITS_AT, Math.log2(bitmap.granularity));
  view.setUint16(NAME_SIZE_AT, name.length);
  bytes.set(name, NAME_AT);
  return bytes;
}

/** Where the directory is. */
export interface BitmapDirectory {
  readonly count: number;
  /** Bytes. */
  readonly size: number;
  /** Host bytes. */
  readonly offset: number;
}

/** Encodes the data of the header extension. */
export function encodeBitmapDirectory({ count, size, offset }: BitmapDirectory): Uint8Array {
  const bytes = new Uint8Array(EXTENSION_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(COUNT_AT, count);
  view.setBigUint64(DIRECTORY_SIZE_AT, BigInt(size));
  view.setBigUint64(DIRECTORY_OFFSET_AT, BigInt(offset));
  return bytes;
}
