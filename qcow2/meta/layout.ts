/*
 * The fixed header (specification, section "Header"); numbers are big-endian.
 *
 *    0  u32  magic "QFI\xfb"            60  u32  nb_snapshots
 *    4  u32  version                    64  u64  snapshots_offset
 *    8  u64  backing_file_offset        72       end of version 2
 *   16  u32  backing_file_size          72  u64  incompatible_features
 *   20  u32  cluster_bits               80  u64  compatible_features
 *   24  u64  size                       88  u64  autoclear_features
 *   32  u32  crypt_method               96  u32  refcount_order
 *   36  u32  l1_size (entries)         100  u32  header_length
 *   40  u64  l1_table_offset           104       least end of version 3
 *   48  u64  refcount_table_offset     104  u8   compression_type
 *   56  u32  refcount_table_clusters   105  7 B  padding
 */
export const MAGIC_AT = 0;
export const VERSION_AT = MAGIC_AT + 4;
export const BACKING_OFFSET_AT = VERSION_AT + 4;
export const BACKING_SIZE_AT = BACKING_OFFSET_AT + 8;
export const CLUSTER_BITS_AT = BACKING_SIZE_AT + 4;
export const SIZE_AT = CLUSTER_BITS_AT + 4;
export const CRYPT_METHOD_AT = SIZE_AT + 8;
export const L1_SIZE_AT = CRYPT_METHOD_AT + 4;
export const L1_OFFSET_AT = L1_SIZE_AT + 4;
export const REFCOUNT_TABLE_OFFSET_AT = L1_OFFSET_AT + 8;
export const REFCOUNT_TABLE_CLUSTERS_AT = REFCOUNT_TABLE_OFFSET_AT + 8;
export const SNAPSHOT_COUNT_AT = REFCOUNT_TABLE_CLUSTERS_AT + 4;
export const SNAPSHOTS_OFFSET_AT = SNAPSHOT_COUNT_AT + 4;
export const V2_HEADER_BYTES = SNAPSHOTS_OFFSET_AT + 8;
export const INCOMPATIBLE_AT = V2_HEADER_BYTES;
export const COMPATIBLE_AT = INCOMPATIBLE_AT + 8;
export const AUTOCLEAR_AT = COMPATIBLE_AT + 8;
export const REFCOUNT_ORDER_AT = AUTOCLEAR_AT + 8;
export const HEADER_LENGTH_AT = REFCOUNT_ORDER_AT + 4;
export const V3_HEADER_BYTES = HEADER_LENGTH_AT + 4;
export const COMPRESSION_TYPE_AT = V3_HEADER_BYTES;
/** What this project writes: version 3 with the compression type and its padding. */
export const WRITTEN_HEADER_BYTES = COMPRESSION_TYPE_AT + 8;

/** "QFI\xfb". */
export const QCOW_MAGIC = 0x514649fb;

/** 512 B to 2 MiB: below is forbidden by the specification, above by QEMU. */
export const MIN_CLUSTER_BITS = 9;
export const MAX_CLUSTER_BITS = 21;
export const MIN_CLUSTER_SIZE = 2 ** MIN_CLUSTER_BITS;
export const MAX_CLUSTER_SIZE = 2 ** MAX_CLUSTER_BITS;
/** 16 KiB: 32 subclusters of 512 B. */
export const MIN_EXTENDED_L2_CLUSTER_BITS = 14;
export const SUBCLUSTERS = 32;

/** QEMU's limits, in bytes. */
export const MAX_L1_BYTES = 32 * 1024 * 1024;
export const MAX_REFCOUNT_TABLE_BYTES = 8 * 1024 * 1024;
export const MAX_SNAPSHOTS = 65536;
export const MAX_BACKING_NAME_BYTES = 1023;
export const MAX_REFCOUNT_ORDER = 6;

/** An entry of an L1 table, a refcount table and a standard L2 table. */
export const TABLE_ENTRY_BYTES = 8;
export const EXTENDED_L2_ENTRY_BYTES = 16;

/** Virtual sizes are whole sectors: QEMU drops the rest. */
export const SECTOR = 512;

/** Bytes of the sectors that so many bytes take: the size of a disk in an image. */
export function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR) * SECTOR;
}

/** True when the bytes begin with qcow2's magic. */
export function hasQcowMagic(bytes: Uint8Array): boolean {
  return (
    bytes.length >= 4 &&
    new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(MAGIC_AT) === QCOW_MAGIC
  );
}
