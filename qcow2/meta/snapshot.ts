import { decodeName } from './extensions.ts';
import { badImage } from './fault.ts';
import { geometryOf } from './geometry.ts';
import type { Qcow2Header } from './header.ts';
import { HeaderFields } from './header-fields.ts';
import { MAX_L1_BYTES, MAX_SNAPSHOTS, SECTOR, TABLE_ENTRY_BYTES } from './layout.ts';

/*
 * Entry of the snapshot table (specification, section "Snapshots"); each begins at a multiple of 8 from the start of
 * the table, and the table has no length of its own.
 *
 *    0  u64  l1_table_offset            32  u32  vm_state_size, if there is no extra data
 *    8  u32  l1_size (entries)          36  u32  extra_data_size
 *   12  u16  id_str_size                40       extra data, each field there if the size reaches it:
 *   14  u16  name_size                    40  u64  vm_state_size
 *   16  u32  date_sec                     48  u64  disk_size
 *   20  u32  date_nsec                    56  u64  icount, -1 if it was not counted
 *   24  u64  vm_clock_nsec            then       the id, the name
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
const FIXED_BYTES = EXTRA_SIZE_AT + 4;
const LARGE_VM_STATE_SIZE_AT = FIXED_BYTES;
const DISK_SIZE_AT = LARGE_VM_STATE_SIZE_AT + 8;
const INSTRUCTIONS_AT = DISK_SIZE_AT + 8;
const ALIGNMENT = 8;
const NO_INSTRUCTIONS = 2n ** 64n - 1n;

/** QEMU's limits. */
const MAX_EXTRA_BYTES = 1024;
export const MAX_SNAPSHOT_TABLE_BYTES = 1024 * MAX_SNAPSHOTS;

/** No entry is longer. */
export const MAX_SNAPSHOT_ENTRY_BYTES = FIXED_BYTES + MAX_EXTRA_BYTES + 2 * 0xffff + ALIGNMENT;

/** One internal snapshot, as the table has it. Sizes and offsets are bytes. */
export interface Snapshot {
  /** Unique in the image; QEMU counts from 1. */
  readonly id: string;
  readonly name: string;
  readonly l1Offset: number;
  readonly l1Entries: number;
  /** Seconds since 1970, and nanoseconds of the last one. */
  readonly dateSeconds: number;
  readonly dateNanoseconds: number;
  /** Time that the guest had run, in nanoseconds. */
  readonly vmClock: bigint;
  /** Memory and devices of the guest, saved behind the disk; 0 if there are none. */
  readonly vmStateSize: number;
  /** The disk's size then; undefined if the table, like those of old writers, does not say it. */
  readonly diskSize: number | undefined;
  /** Instructions that the guest had run, if it counted them. */
  readonly instructions: bigint | undefined;
}

/** One entry and where the next one begins, from the start of this one. */
export interface SnapshotEntry {
  readonly snapshot: Snapshot;
  readonly length: number;
}

/**
 * Parses one entry. Whether its L1 table can be read is for who opens it to say: a list shows it in any case.
 * @param bytes from the start of the entry, to the end of the file or {@link MAX_SNAPSHOT_ENTRY_BYTES}.
 * @param index of the entry in the table. @param image the file's name, both for errors.
 * @throws ImgstoreError `BAD_IMAGE` naming the field.
 */
export function parseSnapshot(bytes: Uint8Array, index: number, image: string): SnapshotEntry {
  const fields = new HeaderFields(bytes, image, `snapshot table entry ${index}`);
  fields.need(FIXED_BYTES);
  const extra = fields.u32(EXTRA_SIZE_AT);
  if (extra > MAX_EXTRA_BYTES) throw fields.bad('extra_data_size', extra, `is above ${MAX_EXTRA_BYTES}`);
  const idAt = FIXED_BYTES + extra;
  const nameAt = idAt + fields.u16(ID_SIZE_AT);
  const end = nameAt + fields.u16(NAME_SIZE_AT);
  fields.need(end);
  const has = (at: number) => at + 8 <= idAt;
  const instructions = has(INSTRUCTIONS_AT) ? fields.mask(INSTRUCTIONS_AT) : NO_INSTRUCTIONS;
  return {
    snapshot: {
      id: decodeName(bytes.subarray(idAt, nameAt)),
      name: decodeName(bytes.subarray(nameAt, end)),
      l1Offset: fields.u64(L1_OFFSET_AT, 'l1_table_offset'),
      l1Entries: fields.u32(L1_SIZE_AT),
      dateSeconds: fields.u32(DATE_SECONDS_AT),
      dateNanoseconds: fields.u32(DATE_NANOSECONDS_AT),
      vmClock: fields.mask(VM_CLOCK_AT),
      vmStateSize: has(LARGE_VM_STATE_SIZE_AT)
        ? fields.u64(LARGE_VM_STATE_SIZE_AT, 'vm_state_size')
        : fields.u32(VM_STATE_SIZE_AT),
      diskSize: has(DISK_SIZE_AT) ? fields.u64(DISK_SIZE_AT, 'disk_size') : undefined,
      instructions: instructions === NO_INSTRUCTIONS ? undefined : instructions,
    },
    length: Math.ceil(end / ALIGNMENT) * ALIGNMENT,
  };
}

/** The snapshot that `wanted` means: by id if one has it, else by name, as in QEMU. */
export function findSnapshot(snapshots: readonly Snapshot[], wanted: string): Snapshot | undefined {
  return snapshots.find(({ id }) => id === wanted) ?? snapshots.find(({ name }) => name === wanted);
}

/** The guest's address space as a snapshot has it: the disk, then the VM's state. All in bytes. */
export interface SnapshotSpace {
  readonly diskSize: number;
  /** Guest offset of the VM's state: behind the disk, where the next L2 table begins. */
  readonly vmStateOffset: number;
  readonly vmStateSize: number;
}

/**
 * Checks what opening a snapshot needs of its table entry.
 * @throws ImgstoreError `BAD_IMAGE` naming the snapshot and the field.
 */
export function snapshotSpace(snapshot: Snapshot, header: Qcow2Header, image: string): SnapshotSpace {
  const { clusterSize, l2Span } = geometryOf(header.clusterBits, header.extendedL2);
  const fault = (field: string, value: number, why: string) =>
    badImage(image, `snapshot ${JSON.stringify(snapshot.id)} field ${field} = ${value} ${why}`, {
      field,
      value: String(value),
      snapshot: snapshot.id,
    });
  const { l1Offset, l1Entries, vmStateSize } = snapshot;
  if (l1Offset % clusterSize !== 0) {
    throw fault('l1_table_offset', l1Offset, `is not a multiple of ${clusterSize}`);
  }
  if (l1Entries > MAX_L1_BYTES / TABLE_ENTRY_BYTES) {
    throw fault('l1_size', l1Entries, `is above ${MAX_L1_BYTES / TABLE_ENTRY_BYTES}`);
  }
  const size = snapshot.diskSize ?? header.virtualSize;
  const needed = Math.ceil(size / l2Span);
  // Without a size of its own the disk may have grown since: what its table does not reach was not there.
  if (snapshot.diskSize !== undefined && l1Entries < needed) {
    throw fault('l1_size', l1Entries, `is too small: its disk of ${size} bytes needs ${needed}`);
  }
  const room = Math.max(0, l1Entries - needed) * l2Span;
  if (vmStateSize > room) {
    throw fault('vm_state_size', vmStateSize, `is more than the ${room} bytes that its L1 table has for it`);
  }
  const vmStateOffset = needed * l2Span;
  if (vmStateOffset > Number.MAX_SAFE_INTEGER - vmStateSize) {
    throw fault('disk_size', size, 'puts its VM state above 2^53 - 1');
  }
  return { diskSize: size - (size % SECTOR), vmStateOffset, vmStateSize };
}
