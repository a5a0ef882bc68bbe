import { open } from 'node:fs/promises';

/** An entry of a snapshot table, as its bytes say. */
export interface TableEntry {
  readonly id: string;
  readonly name: string | Buffer;
  /** Seconds since 1970. */
  readonly date?: number;
  /** Where its L1 table is; that of the present disk when not given. */
  readonly l1Offset?: number;
  readonly l1Entries?: number;
  /** Bytes. */
  readonly diskSize?: number;
  /** Bytes. */
  readonly vmStateSize?: number;
}

/** Fields of a qcow2 header, by offset. */
const VIRTUAL_SIZE_AT = 24;
const L1_ENTRIES_AT = 36;
const L1_OFFSET_AT = 40;
const SNAPSHOTS_AT = 60;

/** Gives a qcow2 image another snapshot table, at its end; what QEMU would refuse to write, too. */
export async function writeSnapshotTable(path: string, entries: readonly TableEntry[]): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const header = Buffer.alloc(104);
    await file.read(header, 0, header.length, 0);
    const at = Math.ceil((await file.stat()).size / 2 ** 21) * 2 ** 21;
    const table = Buffer.concat(entries.map((entry) => encoded(entry, header)));
    await file.write(table, 0, table.length, at);
    header.writeUInt32BE(entries.length, SNAPSHOTS_AT);
    header.writeBigUInt64BE(BigInt(at), SNAPSHOTS_AT + 4);
    await file.write(header, 0, header.length, 0);
  } finally {
    await file.close();
  }
}

function encoded(
  { id, name, date = 0, l1Offset, l1Entries, diskSize, vmStateSize = 0 }: TableEntry,
  header: Buffer,
): Buffer {
  const [idBytes, nameBytes] = [Buffer.from(id), Buffer.from(name)];
  const entry = Buffer.alloc(56 + Math.ceil((idBytes.length + nameBytes.length) / 8) * 8);
  entry.writeBigUInt64BE(l1Offset === undefined ? header.readBigUInt64BE(L1_OFFSET_AT) : BigInt(l1Offset), 0);
  entry.writeUInt32BE(l1Entries ?? header.readUInt32BE(L1_ENTRIES_AT), 8);
  entry.writeUInt16BE(idBytes.length, 12);
  entry.writeUInt16BE(nameBytes.length, 14);
  entry.writeUInt32BE(date, 16);
  entry.writeUInt32BE(16, 36);
  entry.writeBigUInt64BE(BigInt(vmStateSize), 40);
  entry.writeBigUInt64BE(
    diskSize === undefined ? header.readBigUInt64BE(VIRTUAL_SIZE_AT) : BigInt(diskSize),
    48,
  );
  idBytes.copy(entry, 56);
  nameBytes.copy(entry, 56 + idBytes.length);
  return entry;
}

/**
 * Gives an image of 4 KiB clusters and at most 2 MiB snapshots that each have one cluster of their own, in which their number stands, and all else from the present disk.
 */
export async function writeManySnapshots(path: string, count: number, clusters: number): Promise<void> {
  const CLUSTER = 4096;
  const file = await open(path, 'r+');
  const entries: TableEntry[] = [];
  try {
    const header = Buffer.alloc(104);
    await file.read(header, 0, header.length, 0);
    const l1 = Buffer.alloc(8);
    await file.read(l1, 0, 8, Number(header.readBigUInt64BE(L1_OFFSET_AT)));
    const l2 = Buffer.alloc(CLUSTER);
    await file.read(l2, 0, CLUSTER, Number(l1.readBigUInt64BE(0) & 0xfffffffffffe00n));
    let at = Math.ceil((await file.stat()).size / CLUSTER) * CLUSTER;
    const bytes = Buffer.alloc(count * 3 * CLUSTER);
    for (let i = 0; i < count; i++, at += 3 * CLUSTER) {
      const out = bytes.subarray(i * 3 * CLUSTER, (i + 1) * 3 * CLUSTER);
      out.writeBigUInt64BE(BigInt(at + CLUSTER), 0);
      l2.copy(out, CLUSTER);
      out.writeBigUInt64BE(BigInt(at + 2 * CLUSTER), CLUSTER + (i % clusters) * 8);
      out.write(`snapshot ${i}`, 2 * CLUSTER);
      entries.push({
        id: `${i + 1}`,
        name: `hour-${i}`,
        date: 1_600_000_000 + 3600 * i,
        l1Offset: at,
        l1Entries: 1,
      });
    }
    await file.write(bytes, 0, bytes.length, at - bytes.length);
  } finally {
    await file.close();
  }
  await writeSnapshotTable(path, entries);
}
