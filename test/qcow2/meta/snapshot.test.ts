import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { parseHeader } from '../../../qcow2/meta/header.ts';
import { encodeHeader } from '../../../qcow2/meta/header-encode.ts';
import {
  findSnapshot,
  MAX_SNAPSHOT_ENTRY_BYTES,
  parseSnapshot,
  type Snapshot,
  snapshotSpace,
} from '../../../qcow2/meta/snapshot.ts';

/** An entry with any extra data. */
function entry(id: string, name: string, extra: Buffer, fixed: (bytes: Buffer) => void = () => {}): Buffer {
  const idBytes = Buffer.from(id);
  const nameBytes = Buffer.from(name);
  const bytes = Buffer.alloc(40);
  bytes.writeBigUInt64BE(65536n, 0);
  bytes.writeUInt32BE(3, 8);
  bytes.writeUInt16BE(idBytes.length, 12);
  bytes.writeUInt16BE(nameBytes.length, 14);
  bytes.writeUInt32BE(1_700_000_000, 16);
  bytes.writeUInt32BE(5, 20);
  bytes.writeBigUInt64BE(77n, 24);
  bytes.writeUInt32BE(1234, 32);
  bytes.writeUInt32BE(extra.length, 36);
  fixed(bytes);
  return Buffer.concat([bytes, extra, idBytes, nameBytes, Buffer.alloc(7)]);
}

function extra(...values: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(values.length * 8);
  values.forEach((value, i) => {
    bytes.writeBigUInt64BE(value, i * 8);
  });
  return bytes;
}

describe('parseSnapshot', () => {
  it.each([
    [extra(), { vmStateSize: 1234, diskSize: undefined, instructions: undefined }],
    [Buffer.alloc(7), { vmStateSize: 1234, diskSize: undefined, instructions: undefined }],
    [extra(2n ** 40n), { vmStateSize: 2 ** 40, diskSize: undefined, instructions: undefined }],
    [extra(0n, 512n), { vmStateSize: 0, diskSize: 512, instructions: undefined }],
    [extra(0n, 512n, 9n), { vmStateSize: 0, diskSize: 512, instructions: 9n }],
    [extra(0n, 512n, 2n ** 64n - 1n, 8n), { vmStateSize: 0, diskSize: 512, instructions: undefined }],
  ])('takes what extra data of any length says: %#', (data, expected) => {
    expect(parseSnapshot(entry('1', 'one', data), 0, 'x').snapshot).toEqual({
      id: '1',
      name: 'one',
      l1Offset: 65536,
      l1Entries: 3,
      dateSeconds: 1_700_000_000,
      dateNanoseconds: 5,
      vmClock: 77n,
      ...expected,
    });
  });

  it('reads names of any length, and where the next entry begins', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }),
        fc.string({ unit: 'grapheme' }),
        fc.nat({ max: 128 }),
        (id, name, more) => {
          fc.pre(!`${id}${name}`.includes('\0'));
          const bytes = entry(id, name, Buffer.alloc(more * 8));
          const { snapshot, length } = parseSnapshot(bytes, 0, 'x');
          expect(snapshot).toMatchObject({ id, name });
          expect(length % 8).toBe(0);
          expect(length).toBe(Math.floor(bytes.length / 8) * 8);
        },
      ),
    );
    const longest = entry('i'.repeat(0xffff), 'n'.repeat(0xffff), Buffer.alloc(1024));
    expect(parseSnapshot(longest, 0, 'x').length).toBeLessThanOrEqual(MAX_SNAPSHOT_ENTRY_BYTES);
  });

  it.each([
    ['extra_data_size', (bytes: Buffer) => bytes.writeUInt32BE(1025, 36)],
    ['extra_data_size', (bytes: Buffer) => bytes.writeUInt32BE(2 ** 32 - 1, 36)],
    ['l1_table_offset', (bytes: Buffer) => bytes.writeBigUInt64BE(2n ** 53n, 0)],
    ['ends within the snapshot table entry 4', (bytes: Buffer) => bytes.writeUInt16BE(0xffff, 12)],
    ['ends within the snapshot table entry 4', (bytes: Buffer) => bytes.writeUInt16BE(0xffff, 14)],
  ])('fails naming %s', (field, change) => {
    expect(() => parseSnapshot(entry('1', 'one', extra(0n, 0n), change), 4, 'disk.qcow2')).toThrow(
      new RegExp(`^disk.qcow2: .*${field}`),
    );
  });

  it.each([
    ['vm_state_size', extra(2n ** 53n, 0n)],
    ['disk_size', extra(0n, 2n ** 64n - 1n)],
  ])('fails naming %s above 2^53', (field, data) => {
    expect(() => parseSnapshot(entry('1', 'one', data), 0, 'x')).toThrow(field);
  });

  it('fails with one error and nothing else when bytes are random or cut off', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          parseSnapshot(bytes, 0, 'x');
        } catch (error) {
          expect(error).toBeInstanceOf(ImgstoreError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('findSnapshot', () => {
  const list = [
    { id: '1', name: '2' },
    { id: '2', name: 'two' },
    { id: '3', name: 'two' },
  ] as unknown as readonly Snapshot[];

  it('takes an id before a name, and the first of two names', () => {
    expect(findSnapshot(list, '2')?.id).toBe('2');
    expect(findSnapshot(list, 'two')?.id).toBe('2');
    expect(findSnapshot(list, '3')?.id).toBe('3');
    expect(findSnapshot(list, '')).toBeUndefined();
  });
});

describe('snapshotSpace', () => {
  const L2_SPAN = 2 ** 29;
  const first = Buffer.alloc(65536);
  first.set(
    encodeHeader({
      ...{ clusterBits: 16, virtualSize: 3 * L2_SPAN, l1Offset: 65536, l1Entries: 3 },
      ...{ refcountTableOffset: 131072, refcountTableClusters: 1, backing: undefined },
    }),
  );
  const header = parseHeader(first, 'x');
  const { snapshot: good } = parseSnapshot(entry('1', 'one', extra(0n, BigInt(L2_SPAN))), 0, 'x');
  const space = (change: Partial<Snapshot>) => snapshotSpace({ ...good, ...change }, header, 'disk.qcow2');

  it('puts the VM state where the L2 table after those of the disk begins', () => {
    expect(space({ vmStateSize: 100 })).toEqual({
      diskSize: L2_SPAN,
      vmStateOffset: L2_SPAN,
      vmStateSize: 100,
    });
    expect(space({ diskSize: L2_SPAN + 513 })).toMatchObject({
      diskSize: L2_SPAN + 512,
      vmStateOffset: 2 * L2_SPAN,
    });
    expect(space({ diskSize: 0 })).toMatchObject({ diskSize: 0, vmStateOffset: 0 });
    expect(space({ diskSize: undefined, l1Entries: 1 })).toMatchObject({ diskSize: 3 * L2_SPAN });
  });

  it.each([
    ['l1_table_offset = 1 ', { l1Offset: 1 }],
    ['l1_table_offset = 65535 ', { l1Offset: 65535 }],
    ['l1_size = 4194305 ', { l1Entries: 4194305 }],
    ['l1_size = 0 is too small', { l1Entries: 0 }],
    ['l1_size = 3 is too small', { diskSize: 3 * L2_SPAN + 512 }],
    ['vm_state_size = 1073741825 is more', { vmStateSize: 2 * L2_SPAN + 1 }],
    ['vm_state_size = 1 is more', { l1Entries: 1, vmStateSize: 1 }],
  ])('fails naming %s', (what, change) => {
    const failing = () => space(change);
    expect(failing).toThrow(/^disk\.qcow2: snapshot "1" field /);
    expect(failing).toThrow(what);
  });

  it('fails when the VM state would lie above 2^53', () => {
    const large = { ...header, clusterBits: 21 };
    const change = { diskSize: Number.MAX_SAFE_INTEGER, l1Entries: 2 ** 14 };
    expect(() => snapshotSpace({ ...good, ...change, l1Offset: 2 ** 21 }, large, 'disk.qcow2')).toThrow(
      'disk.qcow2: snapshot "1" field disk_size = 9007199254740991 puts its VM state above 2^53 - 1',
    );
  });
});
