import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { RawFile } from '../../../block/index.ts';
import { Qcow2Image, Qcow2Writer, type Qcow2WriterOptions } from '../../../qcow2/index.ts';
import { MemoryTarget } from '../model-image.ts';
import { qemuBytes, qemuCheck, qemuImg, qemuIo, readAll, tempFolder } from '../qemu.ts';
import { Draft, writeImage } from './write-image.ts';

const file = tempFolder();

/** Where a cluster is that disks can share. */
interface Place {
  readonly offset: number;
  /** Of the stream, for a compressed one. */
  readonly length: number | undefined;
  readonly bytes: Buffer;
}

/** Writes disks that are given as a seed for each cluster (0: nothing); equal seeds share one cluster. */
async function writeVersions(
  path: string,
  options: Qcow2WriterOptions,
  versions: readonly (readonly number[])[],
): Promise<Buffer[]> {
  const disks: Buffer[] = [];
  await writeImage(path, options, async (writer, target) => {
    const places = new Map<number, Place>();
    for (const [version, seeds] of versions.entries()) {
      const isActive = version === versions.length - 1;
      if (isActive) await writer.beginActive();
      else {
        const id = String(version + 1);
        const date = new Date(Date.UTC(2026, 0, version + 1));
        await writer.beginSnapshot({ id, name: `version ${id}`, date });
      }
      const draft = new Draft(writer, target, options);
      for (const [cluster, seed] of seeds.entries()) {
        if (seed === 0) continue;
        const place = places.get(seed);
        if (place === undefined) {
          const made =
            seed % 3 === 0
              ? await draft.compressed(cluster, seed)
              : { offset: await draft.data(cluster, seed), length: undefined };
          // What the active disk allocates is its own.
          if (!isActive) places.set(seed, { ...made, bytes: Buffer.from(draft.range(cluster)) });
          continue;
        }
        place.bytes.copy(draft.range(cluster));
        if (place.length === undefined) await writer.share(cluster, place.offset);
        else await writer.shareCompressed(cluster, place.offset, place.length);
      }
      disks.push(draft.disk);
    }
  });
  return disks;
}

const VERSIONS = [
  [1, 2, 3, 0, 4, 5, 6, 0, 0, 7, 2, 3],
  [1, 2, 3, 8, 4, 9, 6, 0, 0, 7, 2, 0],
  [1, 10, 3, 8, 4, 9, 12, 0, 11, 7, 2, 3],
  [1, 13, 3, 8, 4, 5, 15, 0, 11, 7, 14, 3],
];

describe('internal snapshots', () => {
  it.each([
    { clusterSize: 512 },
    { clusterSize: 65536 },
    { clusterSize: 65536, compat: '0.10' as const },
    { clusterSize: 4096, refcountOrder: 3, compressionType: 'zstd' as const },
    { clusterSize: 4096, refcountOrder: 6 },
    { clusterSize: 2 ** 21 },
    { clusterSize: 16384, extendedL2: true },
  ])('share equal clusters and can be applied: %o', async (options) => {
    const path = file(`snapshots-${JSON.stringify(options).replaceAll(/\W/g, '')}.qcow2`);
    const virtualSize = 12 * options.clusterSize;
    const disks = await writeVersions(path, { ...options, virtualSize }, VERSIONS);
    await qemuCheck(path);
    const active = disks.at(-1)!;
    expect((await qemuBytes(path)).equals(active)).toBe(true);
    for (const [index, disk] of disks.slice(0, -1).entries()) {
      const host = await RawFile.open(path);
      const image = await Qcow2Image.open(host, { name: path, snapshot: `version ${index + 1}` });
      expect(image.snapshot).toMatchObject({
        id: String(index + 1),
        diskSize: virtualSize,
        dateSeconds: Date.UTC(2026, 0, index + 1) / 1000,
      });
      expect((await readAll(image)).equals(disk)).toBe(true);
      await image.close();
    }
    // A write in place to something that is shared would show in a snapshot.
    await qemuIo(path, `write -P 77 0 ${virtualSize}`, 'flush');
    await qemuCheck(path);
    for (const [index, disk] of disks.slice(0, -1).entries()) {
      await qemuImg('snapshot', '-a', String(index + 1), path);
      await qemuCheck(path);
      expect((await qemuBytes(path)).equals(disk)).toBe(true);
      await qemuIo(path, 'write -P 78 0 512', 'flush');
      await qemuCheck(path);
    }
    for (const id of [2, 1, 3]) {
      await qemuImg('snapshot', '-d', `version ${id}`, path);
      await qemuCheck(path);
    }
  });

  it('are listed by QEMU', async () => {
    const path = file('listed.qcow2');
    await writeVersions(path, { virtualSize: 12 * 4096, clusterSize: 4096 }, VERSIONS);
    const { snapshots } = JSON.parse(await qemuImg('info', '--output=json', path));
    expect(snapshots).toEqual(
      [1, 2, 3].map((id) =>
        expect.objectContaining({
          id: String(id),
          name: `version ${id}`,
          'date-sec': Date.UTC(2026, 0, id) / 1000,
          'vm-state-size': 0,
        }),
      ),
    );
  });

  it('store what is equal once', async () => {
    const options = { virtualSize: 64 * 65536, clusterSize: 65536 };
    const seeds = Array.from({ length: 64 }, (_, i) => 3 * i + 1);
    await writeVersions(file('once.qcow2'), options, [seeds, seeds, seeds, seeds]);
    await qemuCheck(file('once.qcow2'));
    // 64 clusters of data; each disk has an L1 and an L2 table besides.
    expect((await readFile(file('once.qcow2'))).length).toBeLessThan((64 + 14) * 65536);
  });

  it('may be of other sizes than the active disk, of none too', async () => {
    const path = file('sizes.qcow2');
    const sizes = [0, 512, 3_000_320, 2 ** 40];
    await writeImage(path, { virtualSize: 2 ** 20, clusterSize: 65536 }, async (writer, target) => {
      for (const [index, virtualSize] of sizes.entries()) {
        await writer.beginSnapshot({ id: `s${index}`, name: '', date: new Date(0), virtualSize });
        if (virtualSize === 0) continue;
        await target.write(
          await writer.allocate(Math.ceil(virtualSize / 65536) - 1),
          Buffer.alloc(65536, index),
        );
      }
      await writer.beginActive();
      await target.write(await writer.allocate(15), Buffer.alloc(65536, 99));
    });
    await qemuCheck(path);
    await qemuIo(path, `read -P 99 ${15 * 65536} 65536`);
    for (const [index, size] of sizes.entries()) {
      const image = await Qcow2Image.open(await RawFile.open(path), { name: path, snapshot: `s${index}` });
      expect(image.size).toBe(size);
      const last = Buffer.alloc(Math.min(512, size));
      await image.read(size - last.length, last);
      expect(last.every((byte) => byte === index)).toBe(true);
      await image.close();
      if (size === 0) continue;
      await qemuImg('snapshot', '-a', `s${index}`, path);
      await qemuCheck(path);
      await qemuIo(path, `read -P ${index} ${size - 512} 512`);
    }
  });

  it('come before the active disk, with ids of their own', async () => {
    const writer = new Qcow2Writer(new MemoryTarget(), { virtualSize: 2 ** 20, clusterSize: 512 });
    const snapshot = { id: '1', name: 'a', date: new Date(0) };
    await writer.beginSnapshot(snapshot);
    await expect(writer.finish()).rejects.toMatchObject({ code: 'USAGE' });
    for (const wrong of [
      { id: '1' },
      { id: '' },
      { id: 'x'.repeat(128) },
      { id: 'a\0b' },
      { id: '2', name: 'x'.repeat(256) },
      { id: '2', date: new Date(-1) },
      { id: '2', date: new Date(Number.NaN) },
      { id: '2', date: new Date(2 ** 32 * 1000) },
      { id: '2', virtualSize: -1 },
      { id: '2', virtualSize: 2 ** 37 + 512 },
    ]) {
      await expect(writer.beginSnapshot({ ...snapshot, ...wrong })).rejects.toMatchObject({ code: 'USAGE' });
    }
    await writer.allocate(5);
    await writer.beginActive();
    await writer.allocate(5);
    await expect(writer.beginSnapshot({ ...snapshot, id: '3' })).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('never share what a guest writes in place, what is not there, or more often than can be counted', async () => {
    const options = { virtualSize: 2 ** 20, clusterSize: 512, refcountOrder: 1 };
    const writer = new Qcow2Writer(new MemoryTarget(), options);
    await writer.beginSnapshot({ id: '1', name: 'a', date: new Date(0) });
    const old = await writer.allocate(0);
    const stream = await writer.placeCompressed(1, 100);
    await writer.beginActive();
    const own = await writer.allocate(0);
    for (const offset of [own, old + 1, 2 ** 40, 0, -512, own + 512]) {
      await expect(writer.share(1, offset)).rejects.toMatchObject({ code: 'USAGE' });
    }
    await writer.share(2, old);
    await writer.share(3, old);
    await expect(writer.share(4, old)).rejects.toMatchObject({ code: 'USAGE' });
    await writer.shareCompressed(5, stream, 100);
    await writer.shareCompressed(6, stream, 100);
    await expect(writer.shareCompressed(7, stream, 100)).rejects.toMatchObject({ code: 'USAGE' });
    await writer.finish();
  });
});
