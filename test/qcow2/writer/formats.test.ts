import { statSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { openImage, parseHeader, Qcow2Writer, type Qcow2WriterOptions } from '../../../qcow2/index.ts';
import { MemoryTarget } from '../model-image.ts';
import { noise, qemuBytes, qemuCheck, qemuImg, qemuIo, readAll, tempFolder } from '../qemu.ts';
import { Draft, writeImage } from './write-image.ts';

const file = tempFolder();

/** Writes data, zeros and compressed clusters, has QEMU write on, and compares with the model all the way. */
async function tryImage(name: string, options: Qcow2WriterOptions): Promise<void> {
  const path = file(name);
  let draft: Draft | undefined;
  await writeImage(path, options, async (writer, target) => {
    draft = new Draft(writer, target, options);
    for (let cluster = 0; cluster + 4 < draft.clusters; cluster += 7) {
      await draft.data(cluster, cluster);
      await draft.compressed(cluster + 1, cluster);
      await draft.zero(cluster + 2, 2);
      await draft.compressed(cluster + 4, cluster, 0.8);
    }
  });
  await qemuCheck(path);
  expect((await qemuBytes(path)).equals(draft!.disk)).toBe(true);
  const { source } = await openImage(path);
  expect((await readAll(source)).equals(draft!.disk)).toBe(true);
  await source.close();
  if (draft!.disk.length < 2048) return;
  const end = draft!.disk.length - 1024;
  await qemuIo(path, `write -P 7 ${end} 1024`, 'write -P 8 512 1024', 'flush');
  await qemuCheck(path);
  draft!.disk.fill(7, end).fill(8, 512, 1536);
  expect((await qemuBytes(path)).equals(draft!.disk)).toBe(true);
}

describe('formats of a new image', () => {
  it.each([9, 12, 16, 21].flatMap((bits) => [0, 512, 3_000_320].map((size) => [2 ** bits, size] as const)))(
    'version 2 with clusters of %i and %i bytes',
    async (clusterSize, virtualSize) => {
      await tryImage(`v2-${clusterSize}-${virtualSize}.qcow2`, { clusterSize, virtualSize, compat: '0.10' });
      const info = JSON.parse(
        await qemuImg('info', '--output=json', file(`v2-${clusterSize}-${virtualSize}.qcow2`)),
      );
      expect(info['format-specific'].data.compat).toBe('0.10');
    },
  );

  it.each([0, 1, 2, 3, 4, 5, 6].flatMap((order) => [9, 16].map((bits) => [order, 2 ** bits] as const)))(
    'refcounts of order %i with clusters of %i bytes',
    async (refcountOrder, clusterSize) => {
      const path = `order-${refcountOrder}-${clusterSize}.qcow2`;
      await tryImage(path, { clusterSize, virtualSize: 3_000_320, refcountOrder });
      const info = JSON.parse(await qemuImg('info', '--output=json', file(path)));
      expect(info['format-specific'].data['refcount-bits']).toBe(2 ** refcountOrder);
    },
  );

  it('has zeros over a backing file in version 2, which has no zero clusters', async () => {
    const backing = noise(40 * 4096, 9);
    const raw = file('below.raw');
    await writeFile(raw, backing);
    const options: Qcow2WriterOptions = {
      virtualSize: backing.length,
      clusterSize: 4096,
      compat: '0.10',
      backing: { file: 'below.raw', format: 'raw' },
    };
    let draft: Draft | undefined;
    await writeImage(file('v2-over.qcow2'), options, async (writer, target) => {
      draft = new Draft(writer, target, options, backing);
      await draft.zero(3, 4);
      await draft.data(9, 1);
      await draft.zero(20, 1, true);
    });
    await qemuCheck(file('v2-over.qcow2'));
    expect((await qemuBytes(file('v2-over.qcow2'))).equals(draft!.disk)).toBe(true);
  });

  it('has places for zero clusters that are asked for them, over a backing file too', async () => {
    const backing = noise(40 * 4096, 9);
    await writeFile(file('under.raw'), backing);
    const options: Qcow2WriterOptions = {
      virtualSize: backing.length,
      clusterSize: 4096,
      backing: { file: 'under.raw', format: 'raw' },
    };
    const path = file('preallocated.qcow2');
    let draft: Draft | undefined;
    await writeImage(path, options, async (writer, target) => {
      draft = new Draft(writer, target, options, backing);
      await draft.zero(3, 4, true);
      await draft.data(9, 1);
      await draft.zero(20, 2);
    });
    await qemuCheck(path);
    expect((await qemuBytes(path)).equals(draft!.disk)).toBe(true);
    const map: { start: number; zero: boolean; data: boolean; offset?: number; depth: number }[] = JSON.parse(
      await qemuImg('map', '--output=json', path),
    );
    const at = (start: number) => map.find((entry) => entry.start === start);
    expect(at(3 * 4096)).toMatchObject({ zero: true, data: false, depth: 0, offset: expect.any(Number) });
    expect(at(20 * 4096)).toMatchObject({ zero: true, data: false, depth: 0 });
    expect(at(20 * 4096)!.offset).toBeUndefined();
    const length = statSync(path).size;
    await qemuIo(path, `write -P 3 ${4 * 4096} 4096`);
    await qemuCheck(path);
    // QEMU wrote to the place that was there.
    expect(statSync(path).size).toBe(length);
    draft!.range(4).fill(3);
    expect((await qemuBytes(path)).equals(draft!.disk)).toBe(true);
  });

  it('carries header extensions of other kinds, which QEMU keeps', async () => {
    const extensions = [
      { type: 0x494d4753, data: Buffer.from('a base commit') },
      { type: 0x12345678, data: new Uint8Array() },
    ];
    const options = { virtualSize: 2 ** 20, clusterSize: 512, extensions };
    const path = file('extensions.qcow2');
    await writeImage(path, options);
    await qemuCheck(path);
    await qemuIo(path, 'write -P 1 0 512');
    const { list } = parseHeader(await readFile(path), path).extensions;
    expect(list.filter(({ type }) => extensions.some((each) => each.type === type))).toEqual(
      extensions.map(({ type, data }) => ({ type, data: new Uint8Array(data) })),
    );
  });

  it.each([
    { refcountOrder: 7 },
    { refcountOrder: -1 },
    { refcountOrder: 1.5 },
    { extendedL2: true, clusterSize: 8192 },
    { compat: '0.10' as const, refcountOrder: 3 },
    { compat: '0.10' as const, compressionType: 'zstd' as const },
    { compat: '0.10' as const, extendedL2: true },
    { extensions: [{ type: 0, data: new Uint8Array() }] },
    { extensions: [{ type: 0x23852875, data: new Uint8Array() }] },
    { extensions: [{ type: 2 ** 32, data: new Uint8Array() }] },
    { clusterSize: 512, extensions: [{ type: 5, data: new Uint8Array(400) }] },
  ])('refuses %o', (options) => {
    expect(
      () => new Qcow2Writer(new MemoryTarget(), { virtualSize: 512, clusterSize: 65536, ...options }),
    ).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });
});
