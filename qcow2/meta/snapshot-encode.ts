import * as layout from './snapshot-layout.ts';

/** The extra data that is written: the sizes of the VM's state and of the disk. */
const EXTRA_BYTES = 16;
const ID_AT = layout.EXTRA_AT + EXTRA_BYTES;

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
  const length =
    Math.ceil((ID_AT + id.length + name.length) / layout.ENTRY_ALIGNMENT) * layout.ENTRY_ALIGNMENT;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  const milliseconds = snapshot.date.getTime();
  view.setBigUint64(layout.L1_OFFSET_AT, BigInt(snapshot.l1Offset));
  view.setUint32(layout.L1_SIZE_AT, snapshot.l1Entries);
  view.setUint16(layout.ID_SIZE_AT, id.length);
  view.setUint16(layout.NAME_SIZE_AT, name.length);
  view.setUint32(layout.DATE_SECONDS_AT, Math.floor(milliseconds / 1000));
  view.setUint32(layout.DATE_NANOSECONDS_AT, (milliseconds % 1000) * 1_000_000);
  view.setUint32(layout.EXTRA_SIZE_AT, EXTRA_BYTES);
  view.setBigUint64(layout.DISK_SIZE_AT, BigInt(snapshot.diskSize));
  bytes.set(id, ID_AT);
  bytes.set(name, ID_AT + id.length);
  return bytes;
}
