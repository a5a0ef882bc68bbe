import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { MemorySource } from '../../../block/index.ts';
import { ImgstoreError } from '../../../errors/index.ts';
import {
  type DirtyRange,
  describeImage,
  openImage,
  type PersistentBitmap,
  Qcow2Image,
} from '../../../qcow2/index.ts';
import * as layout from '../../../qcow2/meta/layout.ts';
import { qemuImg, qemuIo, tempFolder } from '../qemu.ts';

const file = tempFolder();
const run = promisify(execFile);

let servers = 0;

/** The dirty ranges that QEMU's server tells of a bitmap. */
async function qemuDirty(image: string, name: string): Promise<DirtyRange[]> {
  // It ends when its only client has gone, and takes its socket away then: perhaps after the next has begun.
  const socket = `${image}.${servers++}.socket`;
  await run('qemu-nbd', ['--fork', '-r', '-f', 'qcow2', '-B', name, '-k', socket, image]);
  const client = `driver=nbd,server.type=unix,server.path=${socket},x-dirty-bitmap=qemu:dirty-bitmap:${name}`;
  const map: readonly { start: number; length: number; data: boolean }[] = JSON.parse(
    await qemuImg('map', '--output=json', '--image-opts', client),
  );
  // With that option what is dirty shows as no data; neighbours may show apart.
  const ranges: DirtyRange[] = [];
  for (const { start, length, data } of map) {
    if (data) continue;
    const last = ranges.at(-1);
    if (last !== undefined && last.offset + last.length === start) {
      ranges[ranges.length - 1] = { offset: last.offset, length: last.length + length };
    } else ranges.push({ offset: start, length });
  }
  return ranges;
}

async function dirtyOf(bitmap: PersistentBitmap): Promise<DirtyRange[]> {
  const ranges: DirtyRange[] = [];
  for await (const range of bitmap.dirty()) {
    const end = ranges.length === 0 ? -1 : ranges.at(-1)!.offset + ranges.at(-1)!.length;
    if (range.length <= 0 || range.offset <= end) throw new Error(`${JSON.stringify(range)} after ${end}`);
    ranges.push(range);
  }
  return ranges;
}

/** What imgstore reads of each bitmap of an image, by name. */
async function allDirty(
  image: string,
): Promise<Map<string, { flaw: string | undefined; ranges: DirtyRange[] }>> {
  const opened = await openImage(image);
  try {
    const all = new Map<string, { flaw: string | undefined; ranges: DirtyRange[] }>();
    for (const bitmap of await opened.image!.bitmaps()) {
      all.set(bitmap.name, { flaw: bitmap.flaw, ranges: await dirtyOf(bitmap) });
    }
    return all;
  } finally {
    await opened.source.close();
  }
}

describe('a persistent bitmap', () => {
  it.each([
    ['512', '4k', '3M'],
    ['64k', '64k', '512M'],
    ['4k', '512', '33000k'],
    ['1M', '2M', '10G'],
    ['2G', '64k', '9G'],
  ])(
    'of granules of %s in clusters of %s has as written what QEMU says',
    async (granularity, cluster, size) => {
      const image = file(`granules-${granularity}.qcow2`);
      await qemuImg('create', '-q', '-f', 'qcow2', '-o', `cluster_size=${cluster}`, image, size);
      await qemuIo(image, 'write 0 64k');
      await qemuImg('bitmap', '--add', '-g', granularity, image, 'one');
      await qemuIo(image, 'write -P 1 100k 300k', 'write -z 1M 500k', 'discard 2M 64k');
      await qemuIo(image, 'write -P 2 3071k 1k');
      await qemuImg('bitmap', '--add', '--disable', '-g', granularity, image, 'off');
      await qemuImg('bitmap', '--merge', 'one', image, 'off');
      await qemuIo(image, 'write -P 3 2900k 1k');
      const found = await allDirty(image);
      expect([...found].map(([name, { flaw }]) => [name, flaw])).toEqual([
        ['one', undefined],
        ['off', 'disabled'],
      ]);
      for (const [name, { ranges }] of found) expect(ranges).toEqual(await qemuDirty(image, name));
      expect(found.get('one')?.ranges.length).toBeGreaterThan(0);
      expect((await describeImage(image)).qcow2).toMatchObject({
        bitmaps: 2,
        bitmapList: [
          { name: 'one', flags: ['auto'], valid: true, flaw: undefined },
          { name: 'off', flags: [], valid: false, flaw: 'disabled' },
        ],
      });
    },
  );

  it('that is whole, and in which nothing was written', async () => {
    const image = file('whole.qcow2');
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', image, '20M');
    await qemuImg('bitmap', '--add', '-g', '512', image, 'one');
    expect((await allDirty(image)).get('one')?.ranges).toEqual([]);
    await qemuIo(image, 'write -z 0 20M');
    expect((await allDirty(image)).get('one')?.ranges).toEqual([{ offset: 0, length: 20 * 2 ** 20 }]);
    expect(await qemuDirty(image, 'one')).toEqual([{ offset: 0, length: 20 * 2 ** 20 }]);
  });
});

describe('a changed bitmap', () => {
  let image: Buffer;
  let directoryAt: number;
  let tableAt: number;
  let extensionAt: number;
  beforeAll(async () => {
    const path = file('changed-base.qcow2');
    // 40 MiB and granules of 512 bytes: two clusters of bits and a half.
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', path, '40M');
    await qemuImg('bitmap', '--add', '-g', '512', path, 'one');
    await qemuIo(path, 'write 100k 300k', 'write 15M 3M', 'write 39M 1M');
    image = await readFile(path);
    extensionAt = image.indexOf(Buffer.from('23852875', 'hex')) + 8;
    directoryAt = Number(image.readBigUInt64BE(extensionAt + 16));
    tableAt = Number(image.readBigUInt64BE(directoryAt));
  });

  /** The ranges of bitmap `one` after a change, or the one error. */
  async function outcome(
    change: (bytes: Buffer) => void,
    cut = image.length,
  ): Promise<DirtyRange[] | ImgstoreError> {
    const bytes = Buffer.from(image.subarray(0, cut));
    change(bytes);
    const start = performance.now();
    try {
      const source = await Qcow2Image.open(new MemorySource(bytes), { name: 'x.qcow2' });
      const [bitmap] = await source.bitmaps();
      return bitmap === undefined ? [] : await dirtyOf(bitmap);
    } catch (error) {
      expect(error).toBeInstanceOf(ImgstoreError);
      expect((error as ImgstoreError).message).toMatch(/^x\.qcow2: [^\n]+$/);
      return error as ImgstoreError;
    } finally {
      expect(performance.now() - start).toBeLessThan(5000);
    }
  }

  it('reads clusters of bits that are all one or all zero without a place in the file', async () => {
    const span = 4096 * 8 * 512;
    expect(
      await outcome((bytes) => {
        bytes.writeBigUInt64BE(0n, tableAt);
        bytes.writeBigUInt64BE(1n, tableAt + 8);
        bytes.writeBigUInt64BE(1n, tableAt + 16);
      }),
    ).toEqual([{ offset: span, length: 40 * 2 ** 20 - span }]);
    const path = file('ones.qcow2');
    const bytes = Buffer.from(image);
    bytes.writeBigUInt64BE(1n, tableAt);
    await writeFile(path, bytes);
    expect((await allDirty(path)).get('one')?.ranges).toEqual(await qemuDirty(path, 'one'));
  });

  it.each([
    ['inconsistent', (b: Buffer) => b.writeBigUInt64BE(0n, layout.AUTOCLEAR_AT)],
    ['in-use', (b: Buffer) => b.writeUInt32BE(3, directoryAt + 12)],
  ])('is not read when it is %s, but listed with the reason', async (flaw, change) => {
    expect(await outcome(change)).toMatchObject({ code: 'BAD_IMAGE', data: { flaw } });
    const path = file(`${flaw}.qcow2`);
    const bytes = Buffer.from(image);
    change(bytes);
    await writeFile(path, bytes);
    expect((await describeImage(path)).qcow2?.bitmapList).toMatchObject([
      { name: 'one', valid: false, flaw },
    ]);
  });

  it('is not listed when its directory is gone and the header does not vouch for it', async () => {
    const path = file('gone.qcow2');
    const bytes = Buffer.from(image);
    bytes.fill(0xff, directoryAt, directoryAt + 32);
    await writeFile(path, bytes);
    await expect(describeImage(path)).rejects.toMatchObject({ code: 'BAD_IMAGE' });
    await expect((await openImage(path)).source.close()).resolves.toBeUndefined();
    bytes.writeBigUInt64BE(0n, layout.AUTOCLEAR_AT);
    await writeFile(path, bytes);
    expect((await describeImage(path)).qcow2).toMatchObject({ bitmaps: 1, bitmapList: [] });
  });

  it('gives an error or ranges when any field is any bound', async () => {
    const size = BigInt(image.length);
    const values = [
      0n,
      1n,
      8n,
      9n,
      31n,
      32n,
      511n,
      512n,
      4096n,
      4097n,
      BigInt(tableAt),
      BigInt(directoryAt),
      size,
    ];
    values.push(
      (size & ~4095n) + 4096n,
      2n ** 16n - 1n,
      2n ** 31n,
      2n ** 32n - 1n,
      2n ** 53n - 1n,
      2n ** 53n,
    );
    values.push(2n ** 55n, 2n ** 56n, 2n ** 63n, 2n ** 64n - 4096n, 2n ** 64n - 1n);
    const places: [number, number][] = [
      [0, 4],
      [4, 4],
      [8, 8],
      [16, 8],
    ].map(([at, width]) => [extensionAt + at!, width!]);
    for (const [at, width] of [
      [0, 8],
      [8, 4],
      [12, 4],
      [16, 1],
      [17, 1],
      [18, 2],
      [20, 4],
    ] as const) {
      places.push([directoryAt + at, width]);
    }
    places.push([tableAt, 8], [tableAt + 16, 8]);
    for (const [at, width] of places) {
      for (const value of values) {
        if (value >= 2n ** BigInt(width * 8)) continue;
        await outcome((bytes) => {
          if (width === 8) bytes.writeBigUInt64BE(value, at);
          else bytes.writeUIntBE(Number(value), at, width);
        });
      }
    }
  });

  it('gives an error that names the entry when its table lies', async () => {
    const past = BigInt(Math.ceil(image.length / 4096) * 4096);
    for (const value of [2n, 512n, 4097n, 2n ** 56n, 2n ** 64n - 1n]) {
      const failed = await outcome((bytes) => bytes.writeBigUInt64BE(value, tableAt + 8));
      expect((failed as ImgstoreError).message).toContain('as entry 1 of its table, which is not valid');
    }
    const failed = await outcome((bytes) => bytes.writeBigUInt64BE(past, tableAt + 8));
    expect((failed as ImgstoreError).message).toContain('cluster 1 of bitmap "one"');
    const table = await outcome((bytes) => bytes.writeBigUInt64BE(past, directoryAt));
    expect((table as ImgstoreError).message).toContain('the table of bitmap "one"');
  });

  it('gives one error or ranges when it changes at random or is cut off', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('extension', 'directory', 'table'),
        fc.array(fc.tuple(fc.nat({ max: 31 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 3 }),
        fc.option(fc.nat({ max: 30_000 }), { freq: 9 }),
        async (place, changes, cut) => {
          const start =
            place === 'extension' ? extensionAt - 8 : place === 'directory' ? directoryAt : tableAt;
          await outcome(
            (bytes) => {
              for (const [at, value] of changes) if (start + at < bytes.length) bytes[start + at] = value;
            },
            cut === null ? undefined : image.length - cut,
          );
        },
      ),
      { numRuns: 600 },
    );
  });
});
