import { expect, test } from 'vitest';
import { createEncrypted } from '../qcow2/crypto/qemu-encrypted.ts';
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

test('info shows names that an image holds in one line each, without what a terminal obeys', async () => {
  const place = await Workplace.create();
  const image = place.path('a.qcow2');
  const name = 'x\u001b[2J\u009b2J\nformat: raw\u202ecod';
  await qemuImg('create', '-q', '-u', '-f', 'qcow2', '-b', name, '-F', 'qcow2', image, '1M');
  await qemuImg('bitmap', '--add', '-f', 'qcow2', image, 'b\u009b2J');
  const text = await place.ok('info', 'a.qcow2');
  expect(text).toContain('backing file:  x\\u{1b}[2J\\u{9b}2J\\u{a}format: raw\\u{202e}cod (qcow2)\n');
  expect(text).toContain('"b\\u{9b}2J"');
  expect((await place.json('info', 'a.qcow2')).qcow2.backingFile).toBe(name);
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

test('info lists snapshots and bitmaps', async () => {
  const place = await Workplace.create();
  const image = place.path('a.qcow2');
  await qemuImg('create', '-q', '-f', 'qcow2', image, '3M');
  await qemuImg('snapshot', '-q', '-c', 'before the upgrade', image);
  await qemuImg('bitmap', '--add', '-g', '65536', '-f', 'qcow2', image, 'nightly');
  await qemuImg('bitmap', '--add', '-f', 'qcow2', '-g', '4096', image, 'old', '--disable');
  const text = await place.ok('info', 'a.qcow2');
  expect(text).toMatch(
    /^snapshots: {5}1\n {2}"1" "before the upgrade", \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, disk 3 MiB, no VM state\n/m,
  );
  expect(text).toContain(
    'bitmaps:       2\n  "nightly", granularity 64 KiB, valid\n' +
      '  "old", granularity 4 KiB, not valid: it is switched off, so later writes are missing in it\n',
  );
  expect(await place.json('info', 'a.qcow2')).toMatchObject({
    qcow2: {
      snapshotList: [{ id: '1', name: 'before the upgrade', diskSize: 3 * 2 ** 20, vmStateSize: 0 }],
      bitmapList: [
        { name: 'nightly', granularity: 65536, valid: true },
        { name: 'old', granularity: 4096, valid: false, flaw: 'disabled' },
      ],
    },
  });
});

test('info tells that an image is encrypted, without its key', async () => {
  const place = await Workplace.create();
  await createEncrypted(place.path('luks.qcow2'), 'luks', '1M');
  await createEncrypted(place.path('aes.qcow2'), 'aes', '1M');
  expect(await place.ok('info', 'luks.qcow2')).toContain('encrypted:     with LUKS: only its key');
  expect(await place.ok('info', 'aes.qcow2')).toContain('encrypted:     with AES: only its key');
  expect(await place.json('info', 'luks.qcow2')).toMatchObject({ qcow2: { encrypted: 'luks' } });
});
