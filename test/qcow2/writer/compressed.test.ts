import { stat } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import {
  type CompressionType,
  loadCompressor,
  openImage,
  Qcow2Writer,
  type Qcow2WriterOptions,
} from '../../../qcow2/index.ts';
import { MemoryTarget } from '../model-image.ts';
import { noise, qemuBytes, qemuCheck, qemuImg, qemuIo, readAll, tempFolder } from '../qemu.ts';
import { Draft, writeImage } from './write-image.ts';

const file = tempFolder();
const TYPES: readonly CompressionType[] = ['zlib', 'zstd'];

describe('loadCompressor', () => {
  it.each(TYPES)('leaves what %s does not make shorter', async (type) => {
    const compress = await loadCompressor(type);
    expect(compress(noise(4096, 1), 6)).toBeUndefined();
    expect(compress(Buffer.alloc(4096, 1), 6)!.length).toBeLessThan(60);
  });
});

describe('compressed clusters', () => {
  it.each(
    TYPES.flatMap((type) =>
      [9, 12, 16, 18, 21].flatMap((bits) =>
        [512, 1_000_448, 9_000_448].map((size) => [type, 2 ** bits, size] as const),
      ),
    ),
  )('of %s read as they were written with clusters of %i and %i bytes', async (type, clusterSize, size) => {
    const path = file(`${type}-${clusterSize}-${size}.qcow2`);
    const options = { virtualSize: size, clusterSize, compressionType: type };
    let draft: Draft | undefined;
    await writeImage(path, options, async (writer, target) => {
      draft = new Draft(writer, target, options);
      for (let cluster = 0; cluster < draft.clusters; cluster++) {
        // Some that do not compress, some plain ones, some holes.
        if (cluster % 11 === 10) continue;
        if (cluster % 7 === 6) await draft.data(cluster, cluster);
        else await draft.compressed(cluster, cluster, (cluster % 13) / 12);
      }
    });
    await qemuCheck(path);
    expect((await qemuBytes(path)).equals(draft!.disk)).toBe(true);
    const { source } = await openImage(path);
    expect((await readAll(source)).equals(draft!.disk)).toBe(true);
    await source.close();
    const info = JSON.parse(await qemuImg('info', '--output=json', path));
    expect(info['format-specific'].data['compression-type']).toBe(type);
    // QEMU frees and reuses what it overwrites, so it must agree with every count.
    await qemuIo(path, `write -P 9 0 ${Math.min(size, 300_032)}`, 'discard 0 512', 'flush');
    await qemuCheck(path);
  });

  it('lie one behind the other, at any byte, across plain clusters too', async () => {
    const writer = new Qcow2Writer(new MemoryTarget(), { virtualSize: 2 ** 24, clusterSize: 65536 });
    const first = await writer.placeCompressed(0, 1001);
    const second = await writer.placeCompressed(1, 65000);
    await writer.allocate(2);
    const third = await writer.placeCompressed(3, 300);
    expect([second, third]).toEqual([first + 1001, first + 66001]);
    await writer.finish();
  });

  it('waste no room that QEMU would not', async () => {
    const options: Qcow2WriterOptions = { virtualSize: 2 ** 24, clusterSize: 65536 };
    let draft: Draft | undefined;
    await writeImage(file('dense.qcow2'), options, async (writer, target) => {
      draft = new Draft(writer, target, options);
      for (let cluster = 0; cluster < draft.clusters; cluster++) {
        await draft.compressed(cluster, cluster, cluster % 5 === 0 ? 1 : 0.3);
      }
    });
    await qemuImg('convert', '-c', '-O', 'qcow2', file('dense.qcow2'), file('dense-qemu.qcow2'));
    const [ours, theirs] = await Promise.all([stat(file('dense.qcow2')), stat(file('dense-qemu.qcow2'))]);
    expect(ours.blocks).toBeLessThanOrEqual(theirs.blocks * 1.01);
  });

  it('fill a host cluster each when refcounts cannot count more', async () => {
    const options = { virtualSize: 2 ** 20, clusterSize: 4096, refcountOrder: 0 };
    let draft: Draft | undefined;
    await writeImage(file('single.qcow2'), options, async (writer, target) => {
      draft = new Draft(writer, target, options);
      for (let cluster = 0; cluster < draft.clusters; cluster += 2) await draft.compressed(cluster, cluster);
    });
    await qemuCheck(file('single.qcow2'));
    expect((await qemuBytes(file('single.qcow2'))).equals(draft!.disk)).toBe(true);
  });

  it('are counted beyond 255 in one host cluster', async () => {
    const options = { virtualSize: 2 ** 22, clusterSize: 4096 };
    await writeImage(file('many.qcow2'), options, async (writer, target) => {
      const draft = new Draft(writer, target, options);
      for (let cluster = 0; cluster < draft.clusters; cluster++) await draft.compressed(cluster, cluster, 0);
    });
    const tiny = file('tiny.qcow2');
    await writeImage(tiny, { virtualSize: 2 ** 27, clusterSize: 65536 }, async (writer, target) => {
      const stream = (await loadCompressor('zlib'))(Buffer.alloc(65536, 1), 9)!;
      for (let cluster = 0; cluster < 2048; cluster++) {
        await target.write(await writer.placeCompressed(cluster, stream.length), stream);
      }
    });
    await qemuCheck(file('many.qcow2'));
    await qemuCheck(tiny);
    expect((await qemuBytes(tiny)).every((byte) => byte === 1)).toBe(true);
  });

  it('lie over a backing file and in a sparse terabyte', async () => {
    const base = file('tera-base.qcow2');
    await qemuImg('create', '-f', 'qcow2', base, '1T');
    await qemuIo(base, 'write -P 1 0 1M', 'write -P 2 900G 1M');
    const options: Qcow2WriterOptions = {
      virtualSize: 2 ** 40,
      clusterSize: 65536,
      compressionType: 'zstd',
      backing: { file: 'tera-base.qcow2', format: 'qcow2' },
    };
    const path = file('tera.qcow2');
    await writeImage(path, options, async (writer, target) => {
      const stream = (await loadCompressor('zstd'))(Buffer.alloc(65536, 3), 3)!;
      for (const at of [1, (900 * 2 ** 30) / 65536, 2 ** 24 - 1]) {
        await target.write(await writer.placeCompressed(at, stream.length), stream);
      }
    });
    await qemuCheck(path);
    await qemuIo(
      path,
      'read -P 1 0 64k',
      'read -P 3 64k 64k',
      'read -P 1 128k 64k',
      'read -P 3 900G 64k',
      `read -P 2 ${900 * 2 ** 30 + 65536} 64k`,
      `read -P 3 ${2 ** 40 - 65536} 64k`,
    );
  });

  it.each([0, 65537, 1.5, -1])('refuse a stream of %d bytes', async (length) => {
    const writer = new Qcow2Writer(new MemoryTarget(), { virtualSize: 2 ** 20, clusterSize: 65536 });
    await expect(writer.placeCompressed(0, length)).rejects.toMatchObject({ code: 'USAGE' });
  });
});
