import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { ImgstoreError } from '../../errors/index.ts';
import { checkImage, describeImage, openImage, Qcow2Writer } from '../../qcow2/index.ts';
import { TYPE_DATA_FILE } from '../../qcow2/meta/extensions.ts';
import { encodeHeader } from '../../qcow2/meta/header-encode.ts';
import * as layout from '../../qcow2/meta/layout.ts';
import { oneLine, Workplace } from '../cmd/imgstore.ts';
import { MemoryTarget } from './model-image.ts';
import { noise, qemuBytes, qemuImg, readAll, tempFolder } from './qemu.ts';

/*
 * What was wrong in other readers of qcow2, each by its number, and what imgstore makes of such an image: it goes
 * through the functions behind `info`, `check` and `commit`, and once through the command line.
 */
const file = tempFolder();
const CLUSTER = 4096;
const DISK = 64 * 1024;
/** Offsets within an entry of the snapshot table. */
const SNAPSHOT_L1_SIZE_AT = 8;
const INCOMPATIBLE_DATA_FILE = 4n;

let good: Buffer;
beforeAll(async () => {
  const target = new MemoryTarget();
  const writer = new Qcow2Writer(target, { virtualSize: DISK, clusterSize: CLUSTER });
  await writer.beginSnapshot({ id: '1', name: 'before', date: new Date(1e12) });
  await target.write(await writer.allocate(0), noise(CLUSTER, 1));
  await writer.beginActive();
  await target.write(await writer.allocate(0), noise(CLUSTER, 2));
  await target.write(await writer.allocate(3), noise(CLUSTER, 3));
  const size = await writer.finish();
  good = Buffer.concat([target.bytes, Buffer.alloc(size - target.bytes.length)]);
});

const pointer = (bytes: Buffer, at: number) => Number(bytes.readBigUInt64BE(at) & 0x00ff_ffff_ffff_fe00n);
const l1Offset = (bytes: Buffer) => pointer(bytes, layout.L1_OFFSET_AT);
const snapshotTable = (bytes: Buffer) => Number(bytes.readBigUInt64BE(layout.SNAPSHOTS_OFFSET_AT));

/** Writes the good image with a change. */
async function changed(name: string, change: (bytes: Buffer) => unknown): Promise<string> {
  const bytes = Buffer.from(good);
  change(bytes);
  await writeFile(file(name), bytes);
  return file(name);
}

/** The one error that a call fails with; undefined when it does not. */
async function failure(work: () => Promise<unknown>): Promise<ImgstoreError | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(ImgstoreError);
    expect((error as ImgstoreError).message).toMatch(/^[^\n]+: [^\n]+$/);
    return error as ImgstoreError;
  }
}

/** Opens an image and reads its disk, or that of a snapshot. */
async function read(path: string, snapshot?: string): Promise<Buffer> {
  const { source } = await openImage(path, { snapshot });
  try {
    return await readAll(source);
  } finally {
    await source.close();
  }
}

/** Fails unless the header is refused with `BAD_IMAGE`, for its field, by all that reads it. */
async function expectBadHeader(path: string, field: string): Promise<void> {
  for (const work of [() => read(path), () => describeImage(path), () => checkImage(path)]) {
    const failed = await failure(work);
    expect(failed?.code).toBe('BAD_IMAGE');
    expect(failed?.message).toContain(field);
  }
}

/** A header alone, over any backing file. */
function overlay(backing: string, format: string): Buffer {
  return emptyImage({ backing: { file: backing, format } });
}

/** A header and tables in which nothing is. */
function emptyImage(named: Pick<Parameters<typeof encodeHeader>[0], 'backing' | 'extensions'>): Buffer {
  const bytes = Buffer.alloc(3 * CLUSTER);
  bytes.set(
    encodeHeader({
      clusterBits: 12,
      virtualSize: DISK,
      l1Offset: CLUSTER,
      l1Entries: 1,
      refcountTableOffset: 2 * CLUSTER,
      refcountTableClusters: 1,
      ...named,
    }),
  );
  return bytes;
}

describe('CVE-2014-0143, sizes and offsets that overflow integers,', () => {
  it.each([2 ** 22 + 1, 2 ** 29, 2 ** 31, 2 ** 32 - 1])(
    'refuses an L1 table of %i entries',
    async (entries) => {
      const path = await changed('l1.qcow2', (bytes) => bytes.writeUInt32BE(entries, layout.L1_SIZE_AT));
      await expectBadHeader(path, 'l1_size');
    },
  );

  it.each([2 ** 22 + 1, 2 ** 29, 2 ** 31, 2 ** 32 - 1])(
    "refuses a snapshot's L1 table of %i entries",
    async (entries) => {
      const path = await changed('snapshot.qcow2', (bytes) =>
        bytes.writeUInt32BE(entries, snapshotTable(bytes) + SNAPSHOT_L1_SIZE_AT),
      );
      expect(await failure(() => read(path, '1'))).toMatchObject({ code: 'BAD_IMAGE' });
      expect((await describeImage(path)).qcow2?.snapshots).toBe(1);
      expect((await checkImage(path)).verdict).not.toBe('clean');
      // The disk itself needs no snapshots.
      expect((await read(path)).subarray(0, CLUSTER).equals(noise(CLUSTER, 2))).toBe(true);
    },
  );

  it.each([2n ** 40n, 2n ** 55n, 0x00ff_ffff_ffff_f000n])(
    'refuses a cluster at host offset %i, for which no refcount can be',
    async (offset) => {
      const path = await changed('cluster.qcow2', (bytes) =>
        bytes.writeBigUInt64BE((1n << 63n) | offset, pointer(bytes, l1Offset(bytes))),
      );
      expect(await failure(() => read(path))).toMatchObject({ code: 'BAD_IMAGE' });
      expect((await checkImage(path)).verdict).toBe('corrupt');
    },
  );

  it('refuses a disk larger than its L1 table', async () => {
    const path = await changed('huge.qcow2', (bytes) => bytes.writeBigUInt64BE(2n ** 52n, layout.SIZE_AT));
    await expectBadHeader(path, 'l1_size');
  });
});

describe('CVE-2014-0144, fields of the header that nobody checked,', () => {
  const fields32: readonly (readonly [string, number, readonly number[]])[] = [
    ['cluster_bits', layout.CLUSTER_BITS_AT, [0, 8, 22, 31, 32, 63, 2 ** 32 - 1]],
    ['header_length', layout.HEADER_LENGTH_AT, [0, 72, CLUSTER + 1, 2 ** 31, 2 ** 32 - 1]],
    ['refcount_table_clusters', layout.REFCOUNT_TABLE_CLUSTERS_AT, [2049, 2 ** 31, 2 ** 32 - 1]],
    ['refcount_order', layout.REFCOUNT_ORDER_AT, [7, 2 ** 31, 2 ** 32 - 1]],
    ['nb_snapshots', layout.SNAPSHOT_COUNT_AT, [65537, 2 ** 31, 2 ** 32 - 1]],
  ];
  it.each(fields32)('refuses %s', async (field, at, values) => {
    for (const value of values) {
      await expectBadHeader(await changed('field.qcow2', (bytes) => bytes.writeUInt32BE(value, at)), field);
    }
  });

  const fields64: readonly (readonly [string, number, readonly bigint[]])[] = [
    ['backing_file_offset', layout.BACKING_OFFSET_AT, [BigInt(CLUSTER) + 1n, 2n ** 63n, 2n ** 64n - 1n]],
    ['l1_table_offset', layout.L1_OFFSET_AT, [1n, 512n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]],
    ['refcount_table_offset', layout.REFCOUNT_TABLE_OFFSET_AT, [1n, 512n, 2n ** 63n, 2n ** 64n - 1n]],
    ['snapshots_offset', layout.SNAPSHOTS_OFFSET_AT, [1n, 512n, 2n ** 63n, 2n ** 64n - 1n]],
  ];
  it.each(fields64)('refuses %s', async (field, at, values) => {
    for (const value of values) {
      const path = await changed('field.qcow2', (bytes) => bytes.writeBigUInt64BE(value, at));
      await expectBadHeader(path, field);
    }
  });

  it('refuses an L1 table that leaves the file', async () => {
    for (const offset of [2n ** 40n, 2n ** 52n]) {
      const path = await changed('far.qcow2', (bytes) => bytes.writeBigUInt64BE(offset, layout.L1_OFFSET_AT));
      expect(await failure(() => read(path))).toMatchObject({ code: 'BAD_IMAGE' });
    }
  });

  it('refuses the name of a backing file that is too long or leaves the first cluster', async () => {
    for (const [offset, length] of [
      [200, 1024],
      [200, 2 ** 32 - 1],
      [CLUSTER - 10, 11],
    ] as const) {
      const path = await changed('name.qcow2', (bytes) => {
        bytes.writeBigUInt64BE(BigInt(offset), layout.BACKING_OFFSET_AT);
        bytes.writeUInt32BE(length, layout.BACKING_SIZE_AT);
      });
      await expectBadHeader(path, 'backing_file_size');
    }
  });

  it.each([2 ** 31 - 1, 2 ** 32 - 8, 2 ** 32 - 1])('refuses an extension of %i bytes', async (length) => {
    const path = await changed('extension.qcow2', (bytes) => {
      bytes.writeUInt32BE(0x12345678, layout.WRITTEN_HEADER_BYTES);
      bytes.writeUInt32BE(length, layout.WRITTEN_HEADER_BYTES + 4);
    });
    await expectBadHeader(path, 'header extension');
  });
});

describe("CVE-2014-0145, a snapshot's L1 table in a buffer of the active one's size,", () => {
  it('reads a snapshot of a larger disk as QEMU does', async () => {
    const target = new MemoryTarget();
    const writer = new Qcow2Writer(target, { virtualSize: 512, clusterSize: 512 });
    const size = 40 * 2 ** 20;
    await writer.beginSnapshot({ id: '1', name: 'large', date: new Date(1e12), virtualSize: size });
    await target.write(await writer.allocate(0), noise(512, 1));
    await target.write(await writer.allocate(size / 512 - 1), noise(512, 2));
    await writer.beginActive();
    await target.write(await writer.allocate(0), noise(512, 3));
    await writer.finish();
    await writeFile(file('large.qcow2'), target.bytes);
    const large = await read(file('large.qcow2'), '1');
    await copyFile(file('large.qcow2'), file('applied.qcow2'));
    await qemuImg('snapshot', '-a', 'large', file('applied.qcow2'));
    expect(large.length).toBe(size);
    expect(large.equals(await qemuBytes(file('applied.qcow2')))).toBe(true);
    expect((await read(file('large.qcow2'))).equals(noise(512, 3))).toBe(true);
    expect((await checkImage(file('large.qcow2'))).verdict).toBe('clean');
  });

  it("refuses a snapshot's L1 table that leaves the file", async () => {
    const path = await changed('long.qcow2', (bytes) =>
      bytes.writeUInt32BE(2 ** 22, snapshotTable(bytes) + SNAPSHOT_L1_SIZE_AT),
    );
    const failed = await failure(() => read(path, '1'));
    expect(failed?.code).toBe('BAD_IMAGE');
    expect(failed?.message).toContain('L1 table of snapshot "1"');
  });
});

describe('CVE-2014-0146, an error while snapshots were not loaded yet,', () => {
  it.each([
    ['a table that leaves the file', 0x7fff_f000n],
    ['a table in the header', 0n],
    ['a table in the data', BigInt(2 * CLUSTER)],
  ])('gives one error or the disk for %s', async (_, offset) => {
    const path = await changed('table.qcow2', (bytes) => {
      bytes.writeUInt32BE(65536, layout.SNAPSHOT_COUNT_AT);
      bytes.writeBigUInt64BE(offset, layout.SNAPSHOTS_OFFSET_AT);
    });
    for (const work of [() => describeImage(path), () => read(path, '1')]) {
      expect(await failure(work)).toMatchObject({ code: 'BAD_IMAGE' });
    }
    expect((await read(path)).subarray(0, CLUSTER).equals(noise(CLUSTER, 2))).toBe(true);
    const judged = await failure(async () => expect((await checkImage(path)).verdict).toBe('corrupt'));
    expect(judged?.code ?? 'BAD_IMAGE').toBe('BAD_IMAGE');
  });

  it('gives the error of the header when snapshots are wrong too', async () => {
    const path = await changed('both.qcow2', (bytes) => {
      bytes.writeUInt32BE(1, layout.SNAPSHOT_COUNT_AT);
      bytes.writeBigUInt64BE(0x7fff_f000n, layout.SNAPSHOTS_OFFSET_AT);
      bytes.writeBigUInt64BE(0x7fff_f000n, layout.L1_OFFSET_AT);
    });
    const failed = await failure(() => read(path));
    expect(failed).toMatchObject({ code: 'BAD_IMAGE' });
    expect(failed?.message).toContain('the L1 table');
  });
});

describe('CVE-2014-0147, refcounts that lie,', () => {
  const lies: readonly (readonly [string, (bytes: Buffer) => unknown])[] = [
    [
      'a table without blocks',
      (bytes) => bytes.fill(0, refcountTable(bytes), refcountTable(bytes) + CLUSTER),
    ],
    ['a block that counts nothing', (bytes) => bytes.fill(0, block(bytes), block(bytes) + CLUSTER)],
    ['a block that counts the most', (bytes) => bytes.fill(0xff, block(bytes), block(bytes) + CLUSTER)],
    [
      'a block in the header',
      (bytes) => bytes.writeBigUInt64BE(0x7fff_ffff_ffff_0000n, refcountTable(bytes)),
    ],
    [
      'a block that is the table',
      (bytes) => bytes.writeBigUInt64BE(BigInt(refcountTable(bytes)), refcountTable(bytes)),
    ],
    ['a table that is the header', (bytes) => bytes.writeBigUInt64BE(0n, layout.REFCOUNT_TABLE_OFFSET_AT)],
    [
      'a table that is the L1 table',
      (bytes) => bytes.writeBigUInt64BE(BigInt(l1Offset(bytes)), layout.REFCOUNT_TABLE_OFFSET_AT),
    ],
  ];
  const refcountTable = (bytes: Buffer) => pointer(bytes, layout.REFCOUNT_TABLE_OFFSET_AT);
  const block = (bytes: Buffer) => pointer(bytes, refcountTable(bytes));

  it.each(lies)('do not matter for reading: %s', async (_, lie) => {
    const path = await changed('lie.qcow2', lie);
    const before = await readFile(path);
    const disk = await read(path);
    expect(disk.subarray(0, CLUSTER).equals(noise(CLUSTER, 2))).toBe(true);
    expect(disk.subarray(3 * CLUSTER, 4 * CLUSTER).equals(noise(CLUSTER, 3))).toBe(true);
    expect((await read(path, '1')).subarray(0, CLUSTER).equals(noise(CLUSTER, 1))).toBe(true);
    expect((await checkImage(path)).verdict).not.toBe('clean');
    expect((await readFile(path)).equals(before)).toBe(true);
  });
});

describe('CVE-2008-2004, a raw disk in which the guest writes a qcow2 header,', () => {
  it('never leads to the files that the header names', async () => {
    const place = await Workplace.withStore();
    const bait = overlay('/etc/passwd', 'raw');
    for (const [name, code] of [
      ['disk.raw', 'BAD_IMAGE'],
      ['disk.img', 'FORBIDDEN'],
      ['disk', 'FORBIDDEN'],
    ] as const) {
      await writeFile(place.path(name), bait);
      expect(await failure(() => read(place.path(name)))).toMatchObject({ code });
      const outcome = await place.run('commit', name);
      expect(outcome.status).toBe(1);
      expect(oneLine(outcome)).toContain('--format');
    }
    // Even where the file would be allowed.
    expect(await failure(() => openImage(place.path('disk'), { allow: ['/'] }))).toMatchObject({
      code: 'FORBIDDEN',
    });
    await place.ok('commit', 'disk.raw', '--format', 'raw');
    await place.ok('checkout', 'disk', '--format', 'raw', '-o', 'out.raw');
    expect((await readFile(place.path('out.raw'))).equals(bait)).toBe(true);
  });

  it('is read as it is below an overlay that says raw, and not guessed below one that says nothing', async () => {
    await writeFile(file('guest.raw'), overlay('/etc/passwd', 'raw'));
    await writeFile(file('top.qcow2'), overlay('guest.raw', 'raw'));
    expect((await read(file('top.qcow2'))).subarray(0, 4).toString('latin1')).toBe('QFI\xfb');
    await writeFile(file('top.qcow2'), overlay('guest.raw', ''));
    expect(await failure(() => openImage(file('top.qcow2'), { allow: ['/'] }))).toMatchObject({
      code: 'FORBIDDEN',
    });
  });
});

describe('CVE-2015-5163, an image from a stranger over a file of the host,', () => {
  it.each([
    '/etc/passwd',
    '../../../../../../../../../../etc/passwd',
    'file:/etc/passwd',
    'file:///etc/passwd',
  ])('is refused over %s', async (name) => {
    const place = await Workplace.withStore();
    for (const format of ['raw', 'qcow2', '']) {
      await writeFile(place.path('upload.qcow2'), overlay(name, format));
      const failed = await failure(() => read(place.path('upload.qcow2')));
      expect(failed).toMatchObject({ code: 'FORBIDDEN' });
    }
    expect(oneLine(await place.run('commit', 'upload.qcow2'))).toContain(JSON.stringify(name));
    expect(await place.ok('info', 'upload.qcow2')).toContain(name);
    expect(await place.json('images')).toEqual([]);
  });
});

describe('CVE-2024-4467, a data file that is a description of devices,', () => {
  it('is opened by nothing: not by info, check or commit', async () => {
    const place = await Workplace.withStore();
    let connections = 0;
    const server = createServer((socket) => {
      connections++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(place.path('socket'), resolve));
    try {
      const nbd = { driver: 'nbd', server: { type: 'unix', path: place.path('socket') } };
      const local = { driver: 'qcow2', file: { driver: 'file', filename: '/etc/passwd' } };
      for (const name of [
        `json:${JSON.stringify(nbd)}`,
        `json:${JSON.stringify(local)}`,
        `nbd+unix:///?socket=${place.path('socket')}`,
        `nbd:unix:${place.path('socket')}`,
      ]) {
        const path = place.path('upload.qcow2');
        await writeFile(path, withDataFile(name));
        expect((await describeImage(path)).qcow2?.dataFile).toEqual({ name, raw: false });
        await checkImage(path);
        expect(await failure(() => read(path))).toMatchObject({ code: 'FORBIDDEN' });
        expect((await place.run('info', 'upload.qcow2')).status).toBe(0);
        expect(oneLine(await place.run('commit', 'upload.qcow2'))).toMatch(
          /its data file .* follows file names only/,
        );
        await writeFile(path, overlay(name, 'raw'));
        expect(await failure(() => read(path))).toMatchObject({ code: 'FORBIDDEN' });
      }
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
    expect(connections).toBe(0);
  });
});

/** An empty image whose clusters are in the file `name`. */
function withDataFile(name: string): Buffer {
  const bytes = emptyImage({
    backing: undefined,
    extensions: [{ type: TYPE_DATA_FILE, data: Buffer.from(name) }],
  });
  bytes.writeBigUInt64BE(INCOMPATIBLE_DATA_FILE, layout.INCOMPATIBLE_AT);
  return bytes;
}
