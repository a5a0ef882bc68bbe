import { readFile, writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemorySource } from '../../../block/index.ts';
import { openImage, Qcow2Image, Qcow2Writer } from '../../../qcow2/index.ts';
import { MemoryTarget } from '../model-image.ts';
import { extentsOf, noise, qemuBytes, qemuCheck, qemuImg, readAll, tempFolder } from '../qemu.ts';
import { writeImage as write } from './write-image.ts';

const file = tempFolder();

describe('Qcow2Writer', () => {
  it.each(
    [9, 10, 12, 14, 16, 18, 21].flatMap((bits) =>
      [0, 512, 5_000_192].map((size) => [2 ** bits, size] as const),
    ),
  )(
    'makes images that qemu-img check accepts with clusters of %i and %i bytes',
    async (clusterSize, virtualSize) => {
      const path = file(`w-${clusterSize}-${virtualSize}.qcow2`);
      const clusters = Math.ceil(virtualSize / clusterSize);
      const expected = Buffer.alloc(clusters * clusterSize);
      await write(path, { virtualSize, clusterSize }, async (writer, target) => {
        for (let cluster = 0; cluster < clusters; cluster += 7) {
          const count = Math.min(5, clusters - cluster);
          // Written from the last to the first, as workers may.
          for (const run of (await writer.allocateRun(cluster, count)).reverse()) {
            const bytes = noise(run.count * clusterSize, cluster);
            bytes.copy(expected, run.cluster * clusterSize);
            await target.write(run.offset, bytes);
          }
        }
      });
      await qemuCheck(path);
      expect((await qemuBytes(path)).equals(expected.subarray(0, virtualSize))).toBe(true);
      const opened = await openImage(path);
      expect((await readAll(opened.source)).equals(expected.subarray(0, virtualSize))).toBe(true);
      await opened.source.close();
    },
  );

  it.each([
    [65536, 2 ** 40],
    [2 ** 21, 2 ** 50],
    [512, 2 ** 37],
    [4096, 2 ** 40],
  ])('makes sparse images with clusters of %i and %i bytes', async (clusterSize, virtualSize) => {
    const path = file(`sparse-${clusterSize}.qcow2`);
    const clusters = virtualSize / clusterSize;
    await write(path, { virtualSize, clusterSize }, async (writer, target) => {
      for (const cluster of [3, clusters / 2, clusters - 1]) {
        await target.write(await writer.allocate(cluster), Buffer.alloc(clusterSize, 5));
      }
    });
    await qemuCheck(path);
    const opened = await openImage(path);
    expect((await extentsOf(opened.source)).filter(({ kind }) => kind === 'data')).toEqual(
      [3, clusters / 2, clusters - 1].map((cluster) => ({
        offset: cluster * clusterSize,
        length: clusterSize,
        kind: 'data',
      })),
    );
    await opened.source.close();
  });

  it('writes many refcount blocks when clusters are small', async () => {
    const path = file('blocks.qcow2');
    const virtualSize = 40 * 2 ** 20;
    await write(path, { virtualSize, clusterSize: 512 }, async (writer) => {
      await writer.allocateRun(0, virtualSize / 512);
    });
    await qemuCheck(path);
  });

  it('makes overlays, whose zero clusters hide the backing file', async () => {
    const base = noise(1_000_448, 3);
    await writeFile(file('base.raw'), base);
    const path = file('overlay.qcow2');
    await write(
      path,
      { virtualSize: 2_000_384, clusterSize: 4096, backing: { file: 'base.raw', format: 'raw' } },
      async (writer, target) => {
        await writer.zero(2, 3);
        await target.write(await writer.allocate(10), Buffer.alloc(4096, 1));
        await writer.zero(11, 1);
        await writer.zero(100, 20);
        const [run] = await writer.allocateRun(300, 4);
        await target.write(run!.offset, Buffer.alloc(4 * 4096, 2));
      },
    );
    await qemuCheck(path);
    const expected = Buffer.concat([base, Buffer.alloc(2_000_384 - base.length)]);
    expected
      .fill(0, 2 * 4096, 5 * 4096)
      .fill(1, 10 * 4096, 11 * 4096)
      .fill(0, 11 * 4096, 12 * 4096);
    expected.fill(0, 100 * 4096, 120 * 4096).fill(2, 300 * 4096, 304 * 4096);
    expect((await qemuBytes(path)).equals(expected)).toBe(true);
    const opened = await openImage(path);
    expect((await readAll(opened.source)).equals(expected)).toBe(true);
    expect(opened.layers.map(({ format, backing }) => [format, backing])).toEqual([
      ['qcow2', 'base.raw'],
      ['raw', undefined],
    ]);
    await opened.source.close();
    const info = JSON.parse(await qemuImg('info', '--output=json', path));
    expect(info).toMatchObject({ 'backing-filename': 'base.raw', 'backing-filename-format': 'raw' });
  });

  it('gives zeros for clusters that were handed out but never written', async () => {
    const path = file('unwritten.qcow2');
    await write(path, { virtualSize: 2 ** 20, clusterSize: 65536 }, async (writer) => {
      await writer.allocateRun(0, 16);
    });
    await qemuCheck(path);
    expect((await qemuBytes(path)).every((byte) => byte === 0)).toBe(true);
  });

  it('rounds the virtual size up to whole sectors', async () => {
    const path = file('odd.qcow2');
    await write(path, { virtualSize: 1001, clusterSize: 65536 });
    expect(JSON.parse(await qemuImg('info', '--output=json', path))['virtual-size']).toBe(1024);
  });

  it('writes the header last', async () => {
    const target = new MemoryTarget();
    const writer = new Qcow2Writer(target, { virtualSize: 2 ** 20, clusterSize: 512 });
    await writer.allocateRun(0, 2048);
    expect(target.order).not.toContain(0);
    await writer.finish();
    expect(target.order.indexOf(0)).toBe(target.order.length - 1);
  });

  it('keeps to one L2 table of memory and flushes tables as the walk passes them', async () => {
    const target = new MemoryTarget();
    const writer = new Qcow2Writer(target, { virtualSize: 2 ** 20, clusterSize: 512 });
    await writer.allocate(0);
    expect(target.order).toHaveLength(0);
    await writer.allocate(64);
    expect(target.order).toHaveLength(1);
  });

  it('is read as it was written', async () => {
    const step = fc.record({
      kind: fc.constantFrom('data', 'zero', 'skip'),
      count: fc.integer({ min: 1, max: 90 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(512, 1024, 4096),
        fc.array(step, { minLength: 1, maxLength: 12 }),
        async (clusterSize, steps) => {
          const clusters = steps.reduce((sum, { count }) => sum + count, 0);
          const expected = noise(clusters * clusterSize, 1);
          const backing = new MemorySource(Buffer.from(expected));
          const target = new MemoryTarget();
          const writer = new Qcow2Writer(target, {
            virtualSize: expected.length,
            clusterSize,
            backing: { file: 'b', format: 'raw' },
          });
          let at = 0;
          for (const { kind, count } of steps) {
            const range = expected.subarray(at * clusterSize, (at + count) * clusterSize);
            if (kind === 'zero') {
              range.fill(0);
              await writer.zero(at, count);
            } else if (kind === 'data') {
              noise(range.length, at).copy(range);
              for (const { cluster, count: length, offset } of await writer.allocateRun(at, count)) {
                const bytes = expected.subarray(cluster * clusterSize, (cluster + length) * clusterSize);
                await target.write(offset, bytes);
              }
            }
            at += count;
          }
          expect(await writer.finish()).toBe(target.bytes.length);
          const image = await Qcow2Image.open(new MemorySource(target.bytes), { name: 'w', backing });
          expect((await readAll(image)).equals(expected)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('refuses clusters out of order, off the disk, or after the end', async () => {
    const writer = new Qcow2Writer(new MemoryTarget(), { virtualSize: 65536, clusterSize: 512 });
    await writer.allocate(5);
    for (const [cluster, count] of [
      [5, 1],
      [4, 1],
      [127, 2],
      [128, 1],
      [6, -1],
      [6.5, 1],
    ] as const) {
      await expect(writer.allocateRun(cluster, count)).rejects.toMatchObject({ code: 'USAGE' });
      await expect(writer.zero(cluster, count)).rejects.toMatchObject({ code: 'USAGE' });
    }
    await writer.finish();
    await expect(writer.finish()).rejects.toMatchObject({ code: 'USAGE' });
    await expect(writer.allocate(6)).rejects.toMatchObject({ code: 'USAGE' });
  });

  it.each([
    { virtualSize: 1, clusterSize: 256 },
    { virtualSize: 1, clusterSize: 2 ** 22 },
    { virtualSize: 1, clusterSize: 1000 },
    { virtualSize: 1, clusterSize: 0 },
    { virtualSize: -1, clusterSize: 512 },
    { virtualSize: 2 ** 53, clusterSize: 2 ** 21 },
    { virtualSize: 2 ** 37 + 512, clusterSize: 512 },
    { virtualSize: 1, clusterSize: 512, backing: { file: 'x'.repeat(400), format: 'raw' as const } },
    { virtualSize: 1, clusterSize: 65536, backing: { file: 'x'.repeat(1024), format: 'raw' as const } },
  ])('refuses options that qcow2 does not have: %o', (options) => {
    expect(() => new Qcow2Writer(new MemoryTarget(), options)).toThrow(
      expect.objectContaining({ code: 'USAGE' }),
    );
  });

  it('makes the same bytes every time', async () => {
    for (const name of ['same1.qcow2', 'same2.qcow2']) {
      await write(file(name), { virtualSize: 2 ** 22, clusterSize: 65536 }, async (writer, target) => {
        await target.write(await writer.allocate(7), Buffer.alloc(65536, 1));
      });
    }
    expect((await readFile(file('same1.qcow2'))).equals(await readFile(file('same2.qcow2')))).toBe(true);
  });
});
