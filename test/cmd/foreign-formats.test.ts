import { execFile } from 'node:child_process';
import { copyFile, open, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { noise } from '../objects/noise.ts';
import { oneLine, sharedWorkplace } from './imgstore.ts';

const run = promisify(execFile);

/** As a disk of VHD geometry has it, so that no format must round: 16 heads, 63 sectors a track. */
const SIZE = 40 * 16 * 63 * 512;

/** File, qemu-img's format and options: every format that is read through QEMU, with its kinds. */
const FORMS: readonly (readonly [file: string, format: string, options: string])[] = [
  ['sparse.vmdk', 'vmdk', 'subformat=monolithicSparse'],
  ['flat.vmdk', 'vmdk', 'subformat=monolithicFlat'],
  ['split.vmdk', 'vmdk', 'subformat=twoGbMaxExtentSparse'],
  ['split-flat.vmdk', 'vmdk', 'subformat=twoGbMaxExtentFlat'],
  ['stream.vmdk', 'vmdk', 'subformat=streamOptimized'],
  ['dynamic.vdi', 'vdi', 'static=off'],
  ['static.vdi', 'vdi', 'static=on'],
  ['dynamic.vhd', 'vpc', 'subformat=dynamic,force_size=on'],
  ['fixed.vhd', 'vpc', 'subformat=fixed,force_size=on'],
  ['dynamic.vhdx', 'vhdx', 'subformat=dynamic'],
  ['fixed.vhdx', 'vhdx', 'subformat=fixed'],
  ['plain.qed', 'qed', 'cluster_size=65536'],
  ['plain.hds', 'parallels', 'cluster_size=1M'],
];

const workplace = sharedWorkplace(async (place) => {
  await place.ok('init');
  const raw = await open(place.path('disk.raw'), 'w');
  await raw.truncate(SIZE);
  for (const [i, at] of [0, 65536 * 5 + 512, 1 << 20, SIZE - 4096].entries()) {
    const bytes = noise([200_000, 3000, 512, 4096][i]!, i + 1);
    await raw.write(bytes, 0, bytes.length, at);
  }
  await raw.close();
  await place.ok('commit', 'disk.raw', '-b', 'raw');
  for (const [file, format, options] of FORMS) {
    await run('qemu-img', ['convert', '-f', 'raw', '-O', format, '-o', options, 'disk.raw', file], {
      cwd: place.folder,
    });
  }
});

test.each(FORMS)('commit of %s gives the disk tree of the raw disk', async (file, format) => {
  const place = workplace();
  const result = await place.json('commit', file, '-b', `from-${file}`, '--allow-empty');
  expect(result.disks).toMatchObject([{ virtualSize: SIZE, newClusters: 0 }]);
  // QEMU does not tell where a VHDX has holes.
  if (format !== 'vhdx') expect(result.disks[0].readBytes).toBeLessThan(SIZE);
  expect(place.git('rev-parse', `from-${file}:disks/vda`)).toBe(place.git('rev-parse', 'raw:disks/vda'));
  const record = JSON.parse(place.git('show', `from-${file}:image.json`));
  expect(record.disks.vda.source).toEqual({ format });
  expect(await place.ok('compare', 'raw', file)).toBe('identical\n');
});

test.each(FORMS)(
  'commit of %s reads nothing when no file has changed, and info tells of it',
  async (file, format) => {
    const place = workplace();
    const branch = `again-${file}`;
    await place.json('commit', file, '-b', branch);
    const again = await place.json('commit', file, '-b', branch);
    expect(again).toMatchObject({ unchanged: true, disks: [{ readBytes: 0 }] });
    const info = await place.json('info', file);
    expect(info).toMatchObject({ format, virtualSize: SIZE, qcow2: null });
    const sizes = await Promise.all(info.files.map(async (path: string) => (await stat(path)).size));
    expect(info.fileSize).toBe(sizes.reduce((sum, size) => sum + size, 0));
  },
);

test('commit of a VHD whose size was rounded up to its geometry gives the same disk tree, and a longer disk', async () => {
  const place = workplace();
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'vpc', 'disk.raw', 'rounded.vhd'], {
    cwd: place.folder,
  });
  const result = await place.json('commit', 'rounded.vhd');
  expect(result.disks[0].virtualSize).toBeGreaterThan(SIZE);
  expect(place.git('rev-parse', 'rounded:disks/vda')).toBe(place.git('rev-parse', 'raw:disks/vda'));
  expect(await place.ok('compare', 'raw', 'rounded.vhd')).toBe('identical\n');
});

test('commit names the package to install when qemu-nbd is not there', async () => {
  const place = workplace();
  const outcome = await place.start(['commit', 'dynamic.vdi', '-b', 'without'], {
    env: { PATH: place.folder },
  }).finished;
  expect(outcome.status).toBe(1);
  expect(oneLine(outcome)).toMatch(/dynamic\.vdi: .*qemu-nbd.*not installed.*apt install qemu-utils/);
});

test('commit takes a VHD of fixed size for a raw disk when its name says so', async () => {
  const place = workplace();
  await copyFile(place.path('fixed.vhd'), place.path('fixed.img'));
  expect((await place.json('commit', 'fixed.img')).disks[0].virtualSize).toBe(SIZE + 512);
  expect((await place.json('commit', 'fixed.img', '--format', 'vhd')).disks[0].virtualSize).toBe(SIZE);
});
