import { decodeName } from './extensions.ts';
import { badImage } from './fault.ts';
import { geometryOf } from './geometry.ts';
import type { Qcow2Header } from './header.ts';
import { HeaderFields } from './header-fields.ts';
import { MAX_L1_BYTES, MAX_SNAPSHOTS, SECTOR, TABLE_ENTRY_BYTES } from './layout.ts';
import * as layout from './snapshot-layout.ts';

const NO_INSTRUCTIONS = 2n ** 64n - 1n;

/** QEMU's limits. */
const MAX_EXTRA_BYTES = 1024;
export const MAX_SNAPSHOT_TABLE_BYTES = 1024 * MAX_SNAPSHOTS;

/** No entry is longer. */
export const MAX_SNAPSHOT_ENTRY_BYTES =
  layout.EXTRA_AT + MAX_EXTRA_BYTES + 2 * 0xffff + layout.ENTRY_ALIGNMENT;

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
  fields.need(layout.EXTRA_AT);
  const extra = fields.u32(layout.EXTRA_SIZE_AT);
  if (extra > MAX_EXTRA_BYTES) throw fields.bad('extra_data_size', extra, `is above ${MAX_EXTRA_BYTES}`);
  const idAt = layout.EXTRA_AT + extra;
  const nameAt = idAt + fields.u16(layout.ID_SIZE_AT);
  const end = nameAt + fields.u16(layout.NAME_SIZE_AT);
  fields.need(end);
  const has = (at: number) => at + 8 <= idAt;
  const instructions = has(layout.INSTRUCTIONS_AT) ? fields.mask(layout.INSTRUCTIONS_AT) : NO_INSTRUCTIONS;
  return {
    snapshot: {
      id: decodeName(bytes.subarray(idAt, nameAt)),
      name: decodeName(bytes.subarray(nameAt, end)),
      l1Offset: fields.u64(layout.L1_OFFSET_AT, 'l1_table_offset'),
      l1Entries: fields.u32(layout.L1_SIZE_AT),
      dateSeconds: fields.u32(layout.DATE_SECONDS_AT),
      dateNanoseconds: fields.u32(layout.DATE_NANOSECONDS_AT),
      vmClock: fields.mask(layout.VM_CLOCK_AT),
      vmStateSize: has(layout.LARGE_VM_STATE_SIZE_AT)
        ? fields.u64(layout.LARGE_VM_STATE_SIZE_AT, 'vm_state_size')
        : fields.u32(layout.VM_STATE_SIZE_AT),
      diskSize: has(layout.DISK_SIZE_AT) ? fields.u64(layout.DISK_SIZE_AT, 'disk_size') : undefined,
      instructions: instructions === NO_INSTRUCTIONS ? undefined : instructions,
    },
    length: Math.ceil(end / layout.ENTRY_ALIGNMENT) * layout.ENTRY_ALIGNMENT,
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
