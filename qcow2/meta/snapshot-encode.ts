/*
 * Entry of the snapshot table (specification, section "Snapshots"), padded to a multiple of 8.
 *
 *    0  u64  l1_table_offset            24  u64  vm_clock_nsec
 *    8  u32  l1_size (entries)          32  u32  vm_state_size
 *   12  u16  id_str_size                36  u32  extra_data_size
 *   14  u16  name_size                  40       extra data: u64 vm_state_size, u64 disk_size
 *   16  u32  date_sec                   56       the id, the name
 *   20  u32  date_nsec
 */
const L1_OFFSET_AT = 0;
const L1_SIZE_AT = L1_OFFSET_AT + 8;
const ID_SIZE_AT = L1_SIZE_AT + 4;
const NAME_SIZE_AT = ID_SIZE_AT + 2;
const DATE_SECONDS_AT = NAME_SIZE_AT + 2;
const DATE_NANOSECONDS_AT = DATE_SECONDS_AT + 4;
const VM_CLOCK_AT = DATE_NANOSECONDS_AT + 4;
const VM_STATE_SIZE_AT = VM_CLOCK_AT + 8;
const EXTRA_SIZE_AT = VM_STATE_SIZE_AT + 4;
const EXTRA_AT = EXTRA_SIZE_AT + 4;
const DISK_SIZE_AT = EXTRA_AT + 8;
const EXTRA_BYTES = 16;
const ID_AT = EXTRA_AT + EXTRA_BYTES;
const ALIGNMENT = 8;

/** QEMU keeps both in buffers of 128 and 256 bytes with a closing zero, and cuts off what is longer. */
export const MAX_SNAPSHOT_ID_BYTES = 127;
export const MAX_SNAPSHOT_NAME_BYTES = 255;

/** An internal snapshot of a disk alone: no memory, no devices. */
export interface NewSnapshot {
  /** Unique in the image; QEMU counts from 1. 1 to 127 bytes as UTF-8. */
  readonly id: string;
  /** At most 255 bytes as UTF-8. */
  readonly name: string;
  readonly date: Date;
  /** Host bytes. */
  readonly l1Offset: number;
  readonly l1Entries: number;
  /** Bytes. */
  readonly diskSize: number;
}

/** Encodes one entry with its padding. */
export function encodeSnapshot(snapshot: NewSnapshot): Uint8Array {
  const id = new TextEncoder().encode(snapshot.id);
  const name = new TextEncoder().encode(snapshot.name);
  const length = Math.ceil((ID_AT + id.length + name.length) / ALIGNMENT) * ALIGNMENT;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  const milliseconds = snapshot.date.getTime();
  view.setBigUint64(L1_OFFSET_AT, BigInt(snapshot.l1Offset));
  view.setUint32(L1_SIZE_AT, snapshot.l1Entries);
  view.setUint16(ID_SIZE_AT, id.length);
  view.setUint16(NAME_SIZE_AT, name.length);
  view.setUint32(DATE_SECONDS_AT, Math.floor(milliseconds / 1000));
  view.setUint32(DATE_NANOSECONDS_AT, (milliseconds % 1000) * 1_000_000);
  view.setUint32(EXTRA_SIZE_AT, EXTRA_BYTES);
  view.setBigUint64(DISK_SIZE_AT, BigInt(snapshot.diskSize));
  bytes.set(id, ID_AT);
  bytes.set(name, ID_AT + id.length);
  return bytes;
}
