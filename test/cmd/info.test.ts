import { expect, test } from 'vitest';
import { qemuImg } from '../qcow2/qemu.ts';
import { oneLine, Workplace } from './imgstore.ts';
import { CLUSTER, writeDisk } from './sample.ts';

test('info tells what an image is without a store', async () => {
  const place = await Workplace.create();
  await qemuImg(
    'create',
    '-q',
    '-f',
    'qcow2',
    '-o',
    'compat=0.10,cluster_size=4096',
    place.path('a.qcow2'),
    '3M',
  );
  expect(await place.json('info', 'a.qcow2')).toMatchObject({
    path: 'a.qcow2',
    format: 'qcow2',
    virtualSize: 3 * 2 ** 20,
    qcow2: { version: 2, compat: '0.10', clusterSize: 4096, compressionType: 'zlib', snapshots: 0 },
  });
  const text = await place.ok('info', 'a.qcow2');
  expect(text).toContain('virtual size:  3 MiB (3145728 bytes)\n');
  expect(text).toContain('cluster size:  4 KiB\n');
  await writeDisk(place, 'b.raw', 1);
  expect(await place.json('info', 'b.raw')).toMatchObject({
    format: 'raw',
    virtualSize: CLUSTER,
    fileSize: CLUSTER,
  });
});

test('info tells of an overlay whose backing file is gone', async () => {
  const place = await Workplace.create();
  await qemuImg(
    'create',
    '-q',
    '-u',
    '-f',
    'qcow2',
    '-b',
    'gone.qcow2',
    '-F',
    'qcow2',
    place.path('a.qcow2'),
    '1M',
  );
  expect(await place.ok('info', 'a.qcow2')).toContain('backing file:  gone.qcow2 (qcow2)\n');
});

test('info exits with 1 when the file is no image', async () => {
  const place = await Workplace.create();
  await writeDisk(place, 'notes.txt', 1);
  for (const file of ['notes.txt', 'missing.qcow2', '.']) {
    const outcome = await place.run('info', file);
    expect(outcome).toMatchObject({ status: 1, stdout: '' });
    expect(oneLine(outcome)).toContain(file);
  }
});
