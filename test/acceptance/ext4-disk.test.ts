import { cp, open, readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { sharedWorkplace } from '../cmd/imgstore.ts';
import { noise } from '../objects/noise.ts';
import { qemuCheck, qemuImg } from '../qcow2/qemu.ts';
import { allocated, makeExt4, system } from './system.ts';

const SIZE = 600 * 2 ** 20;

// biome-ignore lint/suspicious/noExplicitAny: the JSON of a commit
let first: any;

/** A real file system, committed. */
const place = sharedWorkplace(async (made) => {
  makeExt4(made.path('disk.raw'));
  await made.ok('init');
  first = await made.json('commit', 'disk.raw', '-m', 'first');
});

test('a real ext4 disk comes back from the store as the same qcow2 and raw', async () => {
  expect(first.disks[0].virtualSize).toBe(SIZE);
  expect(first.disks[0].readBytes).toBeLessThan(SIZE / 2);

  await place().ok('checkout', 'disk', '-o', 'back.qcow2');
  await qemuCheck(place().path('back.qcow2'));
  expect(
    await qemuImg(
      'compare',
      '-f',
      'raw',
      '-F',
      'qcow2',
      place().path('disk.raw'),
      place().path('back.qcow2'),
    ),
  ).toContain('identical');

  await place().ok('checkout', 'disk', '-o', 'back.raw');
  system('cmp', place().path('disk.raw'), place().path('back.raw'));
  const data = first.disks[0].clusters * 65536;
  const taken = await allocated(place().path('back.raw'));
  expect(taken).toBeLessThan(data * 1.05);
  expect(taken).toBeGreaterThan(data * 0.95);
  system('e2fsck', '-fn', place().path('back.raw'));
  expect((await place().run('compare', 'disk', 'back.raw')).status).toBe(0);
  place().fsck();
});

test('committing an identical copy adds no object, to the same branch and to a new one', async () => {
  await cp(place().path('disk.raw'), place().path('copy.raw'));
  const before = place().git('count-objects', '-v');
  for (const args of [['-b', 'disk'], []]) {
    const again = await place().json('commit', 'copy.raw', ...args);
    expect(again).toMatchObject({ commit: first.commit, unchanged: true, newObjects: 0, storedBytes: 0 });
  }
  expect(place().git('count-objects', '-v')).toBe(before);
  expect(place().git('rev-parse', 'copy')).toBe(first.commit);
});

test('an unchanged file at the same path is not read', async () => {
  // The look behind a commit's first one can be too close to the file's last write to be trusted.
  await place().ok('commit', 'disk.raw');
  const again = await place().json('commit', 'disk.raw');
  expect(again).toMatchObject({ unchanged: true, disks: [{ readBytes: 0 }] });
});

test('of an unchanged file the format is looked at and no more is read', async (context) => {
  try {
    system('strace', '-V');
  } catch {
    return context.skip('strace is not here');
  }
  const calls = 'trace=read,pread64,readv,preadv,preadv2';
  const through = ['strace', '-f', '-qq', '-y', '-o', place().path('trace'), '-e', calls];
  const { status, stdout } = await place().start(['commit', 'disk.raw', '--json'], { through }).finished;
  if (status !== 0) return context.skip('strace may not trace here');
  expect(JSON.parse(stdout).unchanged).toBe(true);
  const reads = (await readFile(place().path('trace'), 'utf8')).match(/disk\.raw>.*= (\d+)$/gm) ?? [];
  const bytes = reads.reduce((sum, line) => sum + Number(/= (\d+)$/.exec(line)![1]), 0);
  expect(reads.length).toBeGreaterThan(0);
  // The first sector, and the last one: a VHD of a fixed size says so at its end alone. And 4 bytes that tell whether it is a qcow2, which may be kept track of.
  expect(bytes).toBeLessThanOrEqual(1024 + 4);
});

test('one write of 4 KiB into a disk of 600 MB adds one blob, at most four trees, one commit and less than 100 KB', async () => {
  const file = await open(place().path('disk.raw'), 'r+');
  await file.write(noise(4096, 1), 0, 4096, 77 * 2 ** 20 + 4096);
  await file.close();
  const types = () =>
    place().git('cat-file', '--batch-all-objects', '--batch-check=%(objecttype)').split('\n');
  const storeBytes = () => Number(system('du', '-sb', place().path('.imgstore/objects')).split('\t')[0]);
  const [typesBefore, bytesBefore] = [types(), storeBytes()];
  const next = await place().json('commit', 'disk.raw', '-m', 'a write');
  const [typesAfter, bytesAfter] = [types(), storeBytes()];
  const added = (type: string) => {
    const count = (list: readonly string[]) => list.filter((each) => each === type).length;
    return count(typesAfter) - count(typesBefore);
  };
  expect(next.disks[0].newClusters).toBe(1);
  expect(added('blob')).toBe(1);
  expect(added('commit')).toBe(1);
  expect(added('tree')).toBeLessThanOrEqual(4);
  expect(bytesAfter - bytesBefore).toBeLessThan(100_000);
  expect(await place().json('diff', 'disk~1', 'disk')).toEqual([
    { disk: 'vda', offset: 77 * 2 ** 20, length: 65536, kind: 'changed' },
  ]);
});
