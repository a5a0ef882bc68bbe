import { copyFile, readFile, truncate, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { openImage } from '../../../qcow2/index.ts';
import { extentsOf, noise, qemuBytes, qemuImg, qemuIo, readAll, tempFolder } from '../qemu.ts';

const file = tempFolder();

/** A disk with noise, text, runs of zeros, and an end that is no multiple of a cluster. */
function disk(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  noise(Math.min(300_000, size), 1).copy(bytes);
  bytes.fill('git for disks ', Math.floor(size / 3), Math.floor(size / 2));
  noise(70_000, 2).copy(bytes, Math.max(0, size - 70_000));
  return bytes;
}

/** Fails unless image and QEMU agree on every byte, and on which ranges hold data. */
async function compareWithQemu(image: string): Promise<void> {
  const opened = await openImage(image);
  try {
    const bytes = await readAll(opened.source);
    expect(bytes.equals(await qemuBytes(image))).toBe(true);
    const map: { start: number; length: number; data: boolean; zero: boolean }[] = JSON.parse(
      await qemuImg('map', '--output=json', '-f', 'qcow2', image),
    );
    // qemu-img names the layer too, and takes holes in files for data at times: compare what must agree.
    const isData = (at: number) => map.find(({ start, length }) => start <= at && at < start + length)?.data;
    for (const { offset, length, kind } of await extentsOf(opened.source)) {
      if (kind !== 'data')
        expect(bytes.subarray(offset, offset + length).every((byte) => byte === 0)).toBe(true);
      for (const at of [offset, offset + length - 1]) {
        if (kind === 'data') expect(isData(at)).toBe(true);
      }
    }
    for (const { start, length, data } of map) {
      if (data) continue;
      for (const extent of await extentsOf(opened.source, start, length))
        expect(extent.kind).not.toBe('data');
    }
  } finally {
    await opened.source.close();
  }
}

describe('images that QEMU made', () => {
  it.each([
    ['compat=0.10', 3_000_000],
    ['compat=1.1', 3_000_000],
    ['compat=1.1,cluster_size=512', 3_000_000],
    ['compat=0.10,cluster_size=4096', 3_000_000],
    ['compat=1.1,cluster_size=2M', 9_000_448],
    ['extended_l2=on,cluster_size=16k', 3_000_000],
    ['extended_l2=on,cluster_size=2M', 9_000_448],
    ['lazy_refcounts=on', 1_000_448],
    ['refcount_bits=1', 1_000_448],
    ['refcount_bits=64', 1_000_448],
    ['preallocation=metadata', 3_000_000],
    ['preallocation=falloc', 1_000_448],
    ['preallocation=full', 1_000_448],
  ])('read as QEMU reads them with %s', async (options, size) => {
    const name = file(`plain-${options.replaceAll(/\W/g, '-')}.qcow2`);
    await writeFile(`${name}.raw`, disk(size));
    await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', '-o', options, `${name}.raw`, name);
    await compareWithQemu(name);
  });

  it.each([
    'compression_type=zlib',
    'compression_type=zstd',
    'compression_type=zlib,cluster_size=512',
    'compression_type=zstd,cluster_size=4k',
    'compression_type=zlib,cluster_size=2M',
    'compression_type=zstd,cluster_size=2M',
    'compression_type=zstd,extended_l2=on',
  ])('read as QEMU reads them compressed with %s', async (options) => {
    const name = file(`packed-${options.replaceAll(/\W/g, '-')}.qcow2`);
    const size = options.includes('2M') ? 9_000_448 : 1_500_160;
    await writeFile(`${name}.raw`, disk(size));
    await qemuImg('convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', options, `${name}.raw`, name);
    await compareWithQemu(name);
    const opened = await openImage(name);
    // Small steps go through the cluster that is kept.
    expect((await readAll(opened.source, 30_011)).equals(await qemuBytes(name))).toBe(true);
    await opened.source.close();
  });

  it.each(['off', 'on'])('read as QEMU reads them with an external data file, raw %s', async (raw) => {
    const name = file(`external-${raw}.qcow2`);
    await qemuImg(
      'create',
      '-f',
      'qcow2',
      '-o',
      `data_file=external-${raw}.data,data_file_raw=${raw}`,
      name,
      '3M',
    );
    await qemuIo(name, 'write -P 7 0 100k', 'write -P 9 1M 64k', 'write -z 1088k 64k', 'discard 0 64k');
    await compareWithQemu(name);
    const opened = await openImage(name);
    expect(opened.files).toHaveLength(2);
    expect(opened.facts.qcow2?.dataFile).toEqual({ name: `external-${raw}.data`, raw: raw === 'on' });
    await opened.source.close();
  });

  it('read through a chain of overlays with other cluster sizes and sizes', async () => {
    await writeFile(file('chain0.raw'), disk(2_000_384));
    await qemuImg(
      'create',
      '-f',
      'qcow2',
      '-o',
      'cluster_size=4k',
      '-b',
      'chain0.raw',
      '-F',
      'raw',
      file('chain1.qcow2'),
      '5M',
    );
    await qemuIo(
      file('chain1.qcow2'),
      'write -P 1 100k 50k',
      'write -P 2 3M 300k',
      'write -z 400k 64k',
      'discard 3100k 8k',
    );
    await qemuImg(
      'create',
      '-f',
      'qcow2',
      '-o',
      'cluster_size=64k,extended_l2=on',
      '-b',
      'chain1.qcow2',
      '-F',
      'qcow2',
      file('chain2.qcow2'),
      '3M',
    );
    await qemuIo(file('chain2.qcow2'), 'write -P 3 130k 2k', 'write -z 200k 4k', 'write -P 4 2M 100k');
    await qemuImg(
      'create',
      '-f',
      'qcow2',
      '-o',
      'cluster_size=512,compat=0.10',
      '-b',
      'chain2.qcow2',
      '-F',
      'qcow2',
      file('chain3.qcow2'),
      '6M',
    );
    await qemuIo(file('chain3.qcow2'), 'write -P 5 131k 512', 'write -P 6 5M 1000k');
    for (const name of ['chain1', 'chain2', 'chain3']) await compareWithQemu(file(`${name}.qcow2`));
  });

  it('read as QEMU reads them with an external data file that is cut short', async () => {
    const name = file('cut-data.qcow2');
    await qemuImg('create', '-f', 'qcow2', '-o', 'data_file=cut.data', name, '4M');
    await qemuIo(name, 'write -P 1 0 4M');
    await truncate(file('cut.data'), 1000);
    await compareWithQemu(name);
  });

  it('read as QEMU reads them with zero clusters, discards and compressed writes among others', async () => {
    for (const options of ['cluster_size=64k', 'cluster_size=32k,extended_l2=on']) {
      const name = file(`mixed-${options.replaceAll(/\W/g, '-')}.qcow2`);
      await qemuImg('create', '-f', 'qcow2', '-o', options, name, '4M');
      await qemuIo(
        name,
        'write -P 1 0 1M',
        'write -z 64k 200k',
        'write -z -u 512k 64k',
        'discard 700k 128k',
        'write -c -P 8 1M 64k',
        'write -c -P 9 1088k 64k',
        'write -P 3 1090k 1k',
        'write -P 4 3M 3k',
      );
      await compareWithQemu(name);
    }
  });

  it('read the active disk when there are internal snapshots and bitmaps', async () => {
    const name = file('snapshots.qcow2');
    await qemuImg('create', '-f', 'qcow2', name, '2M');
    await qemuIo(name, 'write -P 1 0 1M');
    await qemuImg('snapshot', '-c', 'before', name);
    await qemuIo(name, 'write -P 2 512k 1M');
    await qemuImg('bitmap', '--add', name, 'changes');
    await compareWithQemu(name);
    const opened = await openImage(name);
    expect(opened.facts.qcow2).toMatchObject({ snapshots: 1, bitmaps: 1, dirty: false, corrupt: false });
    await opened.source.close();
  });

  it('read zeros where the last data cluster is cut short, and refuse a cluster that is missing whole', async () => {
    const name = file('cut.qcow2');
    await qemuImg('create', '-f', 'qcow2', name, '1M');
    await qemuIo(name, 'write -P 1 0 1M');
    // QEMU puts data clusters after its metadata.
    const { length } = await readFile(name);
    await copyFile(name, file('short.qcow2'));
    await truncate(file('short.qcow2'), length - 30_123);
    await compareWithQemu(file('short.qcow2'));
    await copyFile(name, file('missing.qcow2'));
    await truncate(file('missing.qcow2'), length - 300_123);
    const opened = await openImage(file('missing.qcow2'));
    await expect(extentsOf(opened.source)).rejects.toThrow(
      /is cut off: the data for guest offset \d+ would be at/,
    );
    await opened.source.close();
  });

  it('open at once and walk at once when the disk is huge and empty', async () => {
    const name = file('huge.qcow2');
    await qemuImg('create', '-f', 'qcow2', '-o', 'cluster_size=64k', name, '1T');
    await qemuIo(name, 'write -P 1 512G 64k');
    const began = performance.now();
    const opened = await openImage(name);
    const extents = await extentsOf(opened.source);
    expect(extents.filter(({ kind }) => kind === 'data')).toEqual([
      { offset: 2 ** 39, length: 65536, kind: 'data' },
    ]);
    expect(performance.now() - began).toBeLessThan(1000);
    await opened.source.close();
  });

  it('open with a large L1 table and skip its empty runs', async () => {
    const name = file('large-l1.qcow2');
    await qemuImg('create', '-f', 'qcow2', '-o', 'cluster_size=512', name, '16G');
    await qemuIo(name, 'write -P 1 15G 512');
    const opened = await openImage(name);
    expect(await extentsOf(opened.source)).toHaveLength(3);
    await opened.source.close();
  });
});
