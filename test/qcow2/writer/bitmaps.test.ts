import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type DirtyRange, openImage, Qcow2Writer } from '../../../qcow2/index.ts';
import { MemoryTarget } from '../model-image.ts';
import { qemuCheck, qemuImg, qemuIo, tempFolder } from '../qemu.ts';
import { writeImage } from './write-image.ts';

const file = tempFolder();
const run = promisify(execFile);

/** The dirty ranges of a bitmap as QEMU serves them. */
async function served(path: string, name: string): Promise<DirtyRange[]> {
  const socket = `${path}.sock`;
  const arguments_ = ['-r', '-f', 'qcow2', '-B', name, '-k', socket, path];
  const server = spawn('qemu-nbd', arguments_, { stdio: ['ignore', 'ignore', 'pipe'] });
  let complaint = '';
  server.stderr.on('data', (text) => {
    complaint += text;
  });
  const ended = once(server, 'exit');
  const uri = `nbd+unix:///?socket=${socket}`;
  for (let tries = 0; ; tries++) {
    try {
      const { stdout } = await run('nbdinfo', ['--json', `--map=qemu:dirty-bitmap:${name}`, uri], {
        maxBuffer: 2 ** 26,
      });
      await ended;
      const extents: { offset: number; length: number; type: number }[] = JSON.parse(stdout);
      return join(extents.filter(({ type }) => type === 1));
    } catch (error) {
      if (tries === 100 || server.exitCode !== null) throw new Error(complaint, { cause: error });
      await sleep(50);
    }
  }
}

function join(ranges: Iterable<DirtyRange>): DirtyRange[] {
  const joined: { offset: number; length: number }[] = [];
  for (const { offset, length } of ranges) {
    const last = joined.at(-1);
    if (last !== undefined && last.offset + last.length === offset) last.length += length;
    else joined.push({ offset, length });
  }
  return joined;
}

/** Ranges widened to whole granules and joined, as a bitmap can say them. */
function granules(ranges: readonly DirtyRange[], granularity: number, size: number): DirtyRange[] {
  const whole: { offset: number; length: number }[] = [];
  let end = 0;
  for (const range of ranges) {
    if (range.length === 0) continue;
    const from = Math.max(end, Math.floor(range.offset / granularity) * granularity);
    end = Math.min(size, Math.ceil((range.offset + range.length) / granularity) * granularity);
    if (end > from) whole.push({ offset: from, length: end - from });
  }
  return join(whole);
}

async function readBack(path: string, name: string): Promise<DirtyRange[]> {
  const { source, image } = await openImage(path);
  const bitmap = (await image!.bitmaps()).find((each) => each.name === name)!;
  const ranges: DirtyRange[] = [];
  for await (const range of bitmap.dirty()) ranges.push(range);
  await source.close();
  return ranges;
}

describe('persistent bitmaps', () => {
  it.each([
    [512, 512, 512],
    [512, 512, 5_000_192],
    [65536, 65536, 10_000_384],
    [65536, 512, 2 ** 33],
    [4096, 2 ** 20, 2 ** 40],
    [2 ** 21, 2 ** 31, 2 ** 41],
  ])(
    'are served by QEMU with clusters of %i, granularity %i and %i bytes',
    async (clusterSize, granularity, size) => {
      const path = file(`bitmaps-${clusterSize}-${granularity}-${size}.qcow2`);
      const step = Math.max(512, Math.floor(size / 7 / 512) * 512);
      const ranges: DirtyRange[] = [];
      for (let offset = 0, i = 0; offset < size; offset += step, i++) {
        ranges.push({ offset, length: Math.min(i % 2 === 0 ? 1 : step - 512, size - offset) });
      }
      await writeImage(path, { virtualSize: size, clusterSize }, async (writer, target) => {
        await writer.addBitmap({ name: 'empty', granularity });
        await target.write(await writer.allocate(0), Buffer.alloc(clusterSize, 1));
        await writer.addBitmap({ name: 'some', granularity, dirty: ranges });
        await writer.addBitmap({ name: 'all', granularity, dirty: [{ offset: 0, length: size }] });
        await writer.addBitmap({ name: 'off ö', granularity, auto: false });
      });
      await qemuCheck(path);
      const listed = JSON.parse(await qemuImg('info', '--output=json', path))['format-specific'].data.bitmaps;
      expect(listed).toEqual([
        { name: 'empty', granularity, flags: ['auto'] },
        { name: 'some', granularity, flags: ['auto'] },
        { name: 'all', granularity, flags: ['auto'] },
        { name: 'off ö', granularity, flags: [] },
      ]);
      const expected = {
        empty: [],
        some: granules(ranges, granularity, size),
        all: [{ offset: 0, length: size }],
      };
      for (const [name, dirty] of Object.entries(expected)) {
        expect(await served(path, name)).toEqual(dirty);
        expect(await readBack(path, name)).toEqual(dirty);
      }
      await qemuIo(path, 'write -P 2 0 512', 'flush');
      await qemuCheck(path);
      const granule = [{ offset: 0, length: Math.min(granularity, size) }];
      expect(await served(path, 'empty')).toEqual(granule);
      expect(await readBack(path, 'off ö')).toEqual([]);
    },
  );

  it('go together with snapshots, compressed clusters and subclusters', async () => {
    const path = file('together.qcow2');
    const options = { virtualSize: 2 ** 24, clusterSize: 16384, extendedL2: true } as const;
    await writeImage(path, options, async (writer, target) => {
      await writer.beginSnapshot({ id: '1', name: 'one', date: new Date(0), virtualSize: 2 ** 26 });
      const shared = await writer.allocate(7);
      await target.write(shared, Buffer.alloc(16384, 1));
      await writer.addBitmap({ name: 'b', granularity: 65536, dirty: [{ offset: 2 ** 20, length: 1 }] });
      await writer.beginActive();
      await writer.share(7, shared);
    });
    await qemuCheck(path);
    expect(await served(path, 'b')).toEqual([{ offset: 2 ** 20, length: 65536 }]);
  });

  it('refuse what QEMU would', async () => {
    const writer = new Qcow2Writer(new MemoryTarget(), { virtualSize: 2 ** 40, clusterSize: 512 * 128 });
    const bitmap = { name: 'a', granularity: 65536 };
    await writer.addBitmap(bitmap);
    for (const wrong of [
      { name: 'a' },
      { name: '' },
      { name: 'x'.repeat(1024) },
      { name: 'a\0' },
      { name: 'b', granularity: 256 },
      { name: 'b', granularity: 2 ** 32 },
      { name: 'b', granularity: 1000 },
      { name: 'b', dirty: [{ offset: 2 ** 40, length: 1 }] },
      { name: 'b', dirty: [{ offset: -1, length: 1 }] },
      {
        name: 'b',
        dirty: [
          { offset: 5, length: 5 },
          { offset: 9, length: 1 },
        ],
      },
    ]) {
      await expect(writer.addBitmap({ ...bitmap, ...wrong })).rejects.toMatchObject({ code: 'USAGE' });
    }
    const large = new Qcow2Writer(new MemoryTarget(), { virtualSize: 2 ** 44, clusterSize: 65536 });
    await expect(large.addBitmap({ name: 'b', granularity: 512 })).rejects.toMatchObject({ code: 'USAGE' });
    const none = new Qcow2Writer(new MemoryTarget(), { virtualSize: 0, clusterSize: 65536 });
    await expect(none.addBitmap(bitmap)).rejects.toMatchObject({ code: 'USAGE' });
    const old = new Qcow2Writer(new MemoryTarget(), {
      virtualSize: 512,
      clusterSize: 65536,
      compat: '0.10',
    });
    await expect(old.addBitmap(bitmap)).rejects.toMatchObject({ code: 'USAGE' });
    const full = new Qcow2Writer(new MemoryTarget(), {
      virtualSize: 512,
      clusterSize: 512,
      extensions: [{ type: 5, data: new Uint8Array(360) }],
    });
    await expect(full.addBitmap(bitmap)).rejects.toMatchObject({ code: 'USAGE' });
  });
});
