import { expect, test } from 'vitest';
import { qemuNbd } from '../nbd/serve.ts';
import { qemuImg, qemuIo } from '../qcow2/qemu.ts';
import { oneLine, Workplace } from './imgstore.ts';
import { disk, writeDisk } from './sample.ts';

test('commit, compare and info read an export of an NBD server', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'disk.raw', 1, undefined, 2);
  await place.ok('commit', 'disk.raw', '-b', 'raw');
  const { socket } = await qemuNbd(place.path('disk.raw'), '-f', 'raw', '-x', 'vms/web');
  const uri = `nbd+unix:///vms/web?socket=${encodeURIComponent(socket)}`;
  const result = await place.json('commit', uri, '--allow-empty');
  expect(result).toMatchObject({
    branch: 'web',
    disks: [{ virtualSize: disk(1, 2, 3).length, newClusters: 0 }],
  });
  expect(place.git('rev-parse', 'web:disks/vda')).toBe(place.git('rev-parse', 'raw:disks/vda'));
  expect(JSON.parse(place.git('show', 'web:image.json')).disks.vda.source).toEqual({ format: 'nbd' });
  expect(place.git('log', '-1', '--format=%s', 'web')).toBe('Store the NBD export vms/web');
  expect(await place.ok('compare', 'raw', uri)).toBe('identical\n');
  expect(await place.json('info', uri)).toMatchObject({
    path: uri,
    format: 'nbd',
    virtualSize: disk(1, 2, 3).length,
    fileSize: null,
  });
  // Nothing tells whether an export has changed.
  expect((await place.json('commit', uri)).disks[0].readBytes).toBeGreaterThan(0);
});

test('commit asks for a branch when the NBD export has no name', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'disk.raw', 1);
  const { socket } = await qemuNbd(place.path('disk.raw'), '-f', 'raw');
  const uri = `nbd+unix:///?socket=${socket}`;
  const outcome = await place.run('commit', uri);
  expect([outcome.status, oneLine(outcome)]).toEqual([2, expect.stringContaining('--branch')]);
  expect((await place.json('commit', uri, '-b', 'web')).branch).toBe('web');
});

test('commit says in one line why an NBD server cannot be read', async () => {
  const place = await Workplace.withStore();
  const outcome = await place.run('commit', 'nbd+unix:///web?socket=none');
  expect([outcome.status, oneLine(outcome)]).toEqual([1, expect.stringContaining('no such socket')]);
  const bad = await place.run('commit', 'nbd+unix:///web');
  expect([bad.status, oneLine(bad)]).toEqual([2, expect.stringContaining('names no socket')]);
});

test('commit --bitmap reads of an export only what its dirty bitmap has', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'disk.raw', 1, 2, 3, undefined, 5);
  const image = place.path('disk.qcow2');
  await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', place.path('disk.raw'), image);
  await place.ok('commit', 'disk.qcow2', '-b', 'web');
  await qemuImg('bitmap', '--add', image, 'since');
  await qemuIo(image, 'write -P 7 70k 1k', 'discard 128k 64k', 'write -P 8 200k 4k');
  const { socket } = await qemuNbd(image, '-f', 'qcow2', '-x', 'vm', '-B', 'since');
  const uri = `nbd+unix:///vm?socket=${socket}`;
  const result = await place.json('commit', uri, '-b', 'web', '--bitmap', 'since');
  expect(result.disks).toMatchObject([{ newClusters: 2 }]);
  // Two clusters that were written, and the last of those that were not, which is looked at.
  expect(result.disks[0].readBytes).toBeLessThanOrEqual(3 * 65536);
  expect(await place.ok('compare', 'web', uri)).toBe('identical\n');
  const first = ['commit', uri, '-b', 'new', '--bitmap', 'since'];
  const unknown = await place.run(...first);
  expect([unknown.status, oneLine(unknown)]).toEqual([2, expect.stringContaining('--parent')]);
  expect((await place.json(...first, '--parent', 'web~1')).disks).toMatchObject([{ newClusters: 0 }]);
  const none = await place.run('commit', uri, '-b', 'web', '--bitmap', 'other');
  expect([none.status, oneLine(none)]).toEqual([1, expect.stringContaining("no dirty bitmap 'other'")]);
  const file = await place.run('commit', 'disk.raw', '-b', 'web', '--bitmap', 'since');
  expect([file.status, oneLine(file)]).toEqual([2, expect.stringContaining('exports of NBD servers')]);
});
