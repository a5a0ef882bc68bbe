import { cp, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { sharedWorkplace } from '../cmd/imgstore.ts';
import { CLUSTER, disk } from '../cmd/sample.ts';
import { mixed } from '../objects/noise.ts';
import { qemuIo } from '../qcow2/qemu.ts';
import { system } from './system.ts';

/** 9 MiB and a bit: data, zeros, data that compresses, and a last cluster that is short. */
const BYTES = Buffer.concat([
  disk(1, undefined, 2, 2),
  Buffer.alloc(3 * 2 ** 20),
  mixed(5 * 2 ** 20, 3),
  disk(undefined, 4),
  Buffer.alloc(512, 9),
]);

const place = sharedWorkplace(async (made) => {
  await made.ok('init');
  await writeFile(made.path('a.raw'), BYTES);
  await made.ok('commit', 'a.raw', '-b', 'as-raw');
});

async function commitTree(file: string, ...args: readonly string[]): Promise<string> {
  const branch = `as-${file}`;
  // A parent of its own, so that the version is written and not found.
  await place().ok('commit', file, '-b', branch, '--allow-empty', ...args);
  expect((await place().run('compare', branch, file, ...args)).status).toBe(0);
  return place().git('rev-parse', `${branch}:disks/vda`);
}

function wanted(): string {
  return place().git('rev-parse', 'as-raw:disks/vda');
}

test.each([
  ['version 2', 'compat=0.10', []],
  ['version 3', 'compat=1.1', []],
  ['clusters of 512', 'cluster_size=512', []],
  ['clusters of 4K', 'cluster_size=4096', []],
  ['clusters of 64K', 'cluster_size=65536', []],
  ['clusters of 2M', 'cluster_size=2M', []],
  ['zlib', 'compression_type=zlib', ['-c']],
  ['zstd', 'compression_type=zstd', ['-c']],
  ['zstd in clusters of 4K', 'compression_type=zstd,cluster_size=4096', ['-c']],
  ['extended L2', 'extended_l2=on', []],
  ['extended L2 in clusters of 2M', 'extended_l2=on,cluster_size=2M', []],
  ['lazy refcounts', 'lazy_refcounts=on', []],
  ['refcounts of 1 bit', 'refcount_bits=1', []],
  ['preallocation', 'preallocation=metadata', []],
] as const)('a qcow2 with %s yields the tree of the raw disk', async (name, options, more) => {
  const file = `${name.replaceAll(' ', '-')}.qcow2`;
  system(
    'qemu-img',
    'convert',
    '-f',
    'raw',
    '-O',
    'qcow2',
    ...more,
    '-o',
    options,
    place().path('a.raw'),
    place().path(file),
  );
  expect(await commitTree(file)).toBe(wanted());
});

test('a qcow2 with a raw external data file yields the tree of the raw disk', async () => {
  const [image, data] = [place().path('ext.qcow2'), place().path('ext.data')];
  system(
    'qemu-img',
    'create',
    '-q',
    '-f',
    'qcow2',
    '-o',
    `data_file=${data},data_file_raw=on`,
    image,
    `${BYTES.length}`,
  );
  system('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'qcow2', place().path('a.raw'), image);
  expect(await commitTree('ext.qcow2')).toBe(wanted());
});

test('a chain of three overlays yields the tree of the raw disk', async () => {
  const size = BYTES.length;
  const blank = Buffer.alloc(size, 0xaa);
  await writeFile(place().path('c0.raw'), blank);
  const layers = ['c0.raw', 'c1.qcow2', 'c2.qcow2', 'c3.qcow2'];
  for (const [i, layer] of layers.entries()) {
    if (i === 0) continue;
    const format = i === 1 ? 'raw' : 'qcow2';
    system(
      'qemu-img',
      'create',
      '-q',
      '-f',
      'qcow2',
      '-b',
      layers[i - 1]!,
      '-F',
      format,
      place().path(layer),
      `${size}`,
    );
  }
  // Each layer writes a third of the disk, over what the ones below have; the last one writes zeros too.
  const cuts = [0, 3_000_832, 6_001_152, size];
  for (const [i, layer] of layers.slice(1).entries()) {
    const [from, to] = [cuts[i]!, cuts[i + 1]!];
    const part = place().path(`part${i}`);
    await writeFile(part, BYTES.subarray(from, to));
    await qemuIo(place().path(layer), `write -q -s ${part} ${from} ${to - from}`);
  }
  const zeros = 4 * CLUSTER;
  await qemuIo(place().path('c3.qcow2'), `write -q -z ${zeros} ${3 * 2 ** 20}`);
  expect(await commitTree('c3.qcow2')).toBe(wanted());
  // The same chain through a link, and from another folder.
  await cp(place().path('c3.qcow2'), place().path('c4.qcow2'));
  expect(await commitTree('c4.qcow2', '--allow-backing', place().folder)).toBe(wanted());
});
