import { writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { openImage, Qcow2Writer, type Qcow2WriterOptions } from '../../../qcow2/index.ts';
import { MemoryTarget } from '../model-image.ts';
import { noise, qemuBytes, qemuCheck, qemuImg, qemuIo, readAll, tempFolder } from '../qemu.ts';
import { Draft, writeImage } from './write-image.ts';

const file = tempFolder();

describe('extended L2 entries', () => {
  it.each([14, 16, 18, 21].flatMap((bits) => [512, 9_000_448].map((size) => [2 ** bits, size] as const)))(
    'map whole clusters and parts of %i bytes over a backing file of %i',
    async (clusterSize, size) => {
      const backing = noise(size, 4);
      await writeFile(file(`base-${clusterSize}-${size}.raw`), backing);
      const options: Qcow2WriterOptions = {
        virtualSize: size,
        clusterSize,
        extendedL2: true,
        backing: { file: `base-${clusterSize}-${size}.raw`, format: 'raw' },
      };
      const path = file(`extended-${clusterSize}-${size}.qcow2`);
      let draft: Draft | undefined;
      await writeImage(path, options, async (writer, target) => {
        draft = new Draft(writer, target, options, backing);
        for (let cluster = 0; cluster < draft.clusters; cluster++) {
          if (cluster % 6 === 0) await draft.subclusters(cluster, cluster, 0x8000_0f01, 0x7000_00f0);
          if (cluster % 6 === 1) await draft.data(cluster, cluster);
          if (cluster % 6 === 2) await draft.compressed(cluster, cluster);
          if (cluster % 6 === 3) await draft.zero(cluster, 1, cluster % 4 === 1);
          if (cluster % 6 === 4) await draft.subclusters(cluster, cluster, 0, 0xff00_0000);
        }
      });
      await qemuCheck(path);
      expect((await qemuBytes(path)).equals(draft!.disk)).toBe(true);
      const { source } = await openImage(path);
      expect((await readAll(source)).equals(draft!.disk)).toBe(true);
      await source.close();
      const info = JSON.parse(await qemuImg('info', '--output=json', path));
      expect(info['format-specific'].data['extended-l2']).toBe(true);
      if (size === 512) return;
      await qemuIo(path, `write -P 5 1536 ${clusterSize}`, `write -z 65536 ${clusterSize}`, 'flush');
      await qemuCheck(path);
      draft!.disk.fill(5, 1536, 1536 + clusterSize).fill(0, 65536, 65536 + clusterSize);
      expect((await qemuBytes(path)).equals(draft!.disk)).toBe(true);
    },
  );

  it('takes no host cluster for a cluster without data', async () => {
    const target = new MemoryTarget();
    const options = { virtualSize: 2 ** 20, clusterSize: 65536, extendedL2: true };
    const writer = new Qcow2Writer(target, options);
    expect(await writer.allocateSubclusters(0, { data: 0, zero: 1 })).toBeUndefined();
    expect(await writer.allocateSubclusters(1, { data: 1, zero: 0 })).toBe(2 * 65536);
  });

  it('refuses bits that contradict each other or are none, and parts in other images', async () => {
    const options = { virtualSize: 2 ** 20, clusterSize: 65536 };
    const writer = new Qcow2Writer(new MemoryTarget(), { ...options, extendedL2: true });
    for (const bits of [
      { data: 3, zero: 2 },
      { data: -1, zero: 0 },
      { data: 0, zero: 2 ** 32 },
      { data: 0.5, zero: 0 },
    ]) {
      await expect(writer.allocateSubclusters(0, bits)).rejects.toMatchObject({ code: 'USAGE' });
    }
    const plain = new Qcow2Writer(new MemoryTarget(), options);
    await expect(plain.allocateSubclusters(0, { data: 1, zero: 0 })).rejects.toMatchObject({ code: 'USAGE' });
  });
});
