/*
 * Entry of the bitmap directory (specification, section "Bitmap directory"); its length is a multiple of 8.
 *
 *    0  u64  bitmap_table_offset        17  u8   granularity_bits
 *    8  u32  bitmap_table_size          18  u16  name_size
 *   12  u32  flags: bit 0 in use,       20  u32  extra_data_size
 *            bit 1 auto, bit 2 extra    24       extra data, then the name
 *            data compatible
 *   16  u8   type, 1: dirty tracking
 *
 * Header extension: u32 number of bitmaps, u32 reserved, u64 directory size in bytes, u64 directory offset.
 */
export const TABLE_OFFSET_AT = 0;
export const TABLE_SIZE_AT = TABLE_OFFSET_AT + 8;
export const FLAGS_AT = TABLE_SIZE_AT + 4;
export const TYPE_AT = FLAGS_AT + 4;
export const GRANULARITY_BITS_AT = TYPE_AT + 1;
export const NAME_SIZE_AT = GRANULARITY_BITS_AT + 1;
export const EXTRA_SIZE_AT = NAME_SIZE_AT + 2;
export const ENTRY_FIXED_BYTES = EXTRA_SIZE_AT + 4;
export const ENTRY_ALIGNMENT = 8;

export const FLAG_IN_USE = 1 << 0;
export const FLAG_AUTO = 1 << 1;
export const FLAG_EXTRA_DATA_COMPATIBLE = 1 << 2;
export const TYPE_DIRTY_TRACKING = 1;

export const COUNT_AT = 0;
export const DIRECTORY_SIZE_AT = COUNT_AT + 8;
export const DIRECTORY_OFFSET_AT = DIRECTORY_SIZE_AT + 8;
export const EXTENSION_BYTES = DIRECTORY_OFFSET_AT + 8;

/** QEMU's limits. */
export const MIN_GRANULARITY_BITS = 9;
export const MAX_GRANULARITY_BITS = 31;
export const MAX_NAME_BYTES = 1023;
export const MAX_BITMAPS = 65535;
export const MAX_BITMAP_BYTES = 512 * 1024 * 1024;
export const MAX_DIRECTORY_BYTES = 1024 * MAX_BITMAPS;
