import { expect, test } from 'vitest';
import { qemuNbd } from '../nbd/serve.ts';
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
