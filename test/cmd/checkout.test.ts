import { existsSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { qemuBytes, qemuCheck } from '../qcow2/qemu.ts';
import { oneLine } from './imgstore.ts';
import { CLUSTER, disk, sampleStores } from './sample.ts';
import { NUMBER } from './shapes.ts';

const sample = sampleStores();

test('checkout writes a qcow2 named after the branch when no file is named', async () => {
  const place = await sample();
  expect(await place.json('checkout', 'web')).toEqual({
    file: 'web.qcow2',
    format: 'qcow2',
    virtualSize: 3 * CLUSTER,
    writtenBytes: 2 * CLUSTER,
    backing: null,
    seconds: NUMBER,
  });
  await qemuCheck(place.path('web.qcow2'));
  expect((await qemuBytes(place.path('web.qcow2'))).equals(disk(1, 3, undefined))).toBe(true);
});

test('checkout takes the format from the ending, and --format wins', async () => {
  const place = await sample();
  for (const file of ['a.raw', 'a.img']) {
    expect((await place.json('checkout', 'v1', '-o', file)).format).toBe('raw');
    expect((await readFile(place.path(file))).equals(disk(1, undefined, 2))).toBe(true);
  }
  expect((await place.json('checkout', 'v1', '-o', 'b.img', '--format', 'qcow2')).format).toBe('qcow2');
  await qemuCheck(place.path('b.img'));
  expect(await place.ok('checkout', 'v1', '-o', 'c.raw')).toMatch(
    /^c\.raw: raw, 192 KiB, 128 KiB written in \d+\.\d s\n$/,
  );
});

test('checkout names one disk of several', async () => {
  const place = await sample();
  expect((await place.json('checkout', 'db', '--disk', 'vdb')).file).toBe('db-vdb.qcow2');
  const outcome = await place.run('checkout', 'db');
  expect(outcome.status).toBe(2);
  expect(oneLine(outcome)).toContain('choose one with --disk');
});

test('checkout --backing chain writes a file for each earlier version', async () => {
  const place = await sample();
  const result = await place.json('checkout', 'web', '-o', 'top.qcow2', '--backing', 'chain');
  expect(result.backing).toBe(`base-${place.git('rev-parse', 'web~1').slice(0, 12)}-vda.qcow2`);
  expect((await readdir(place.folder)).filter((name) => name.startsWith('base-'))).toEqual([result.backing]);
  expect((await qemuBytes(place.path('top.qcow2'))).equals(disk(1, 3, undefined))).toBe(true);
  expect((await qemuBytes(place.path(result.backing))).equals(disk(1, undefined, 2))).toBe(true);
  await qemuCheck(place.path('top.qcow2'));
});

test('checkout --backing FILE writes what differs only', async () => {
  const place = await sample();
  await place.ok('checkout', 'v1', '-o', 'base.qcow2');
  const result = await place.json('checkout', 'web-test', '-o', 'top.qcow2', '--backing', 'base.qcow2');
  expect(result).toMatchObject({ backing: 'base.qcow2', writtenBytes: CLUSTER });
  expect((await qemuBytes(place.path('top.qcow2'))).equals(disk(4, undefined, 2))).toBe(true);
  const raw = await place.run('checkout', 'web', '-o', 'a.raw', '--backing', 'base.qcow2');
  expect(raw.status).toBe(2);
  oneLine(raw);
});

test('checkout replaces a file only with --force', async () => {
  const place = await sample();
  const before = await readFile(place.path('web.raw'));
  const refused = await place.run('checkout', 'web-test', '-o', 'web.raw');
  expect(refused.status).toBe(1);
  expect(oneLine(refused)).toBe(
    'web.raw: exists already: choose another name, or pass --force to replace it',
  );
  expect((await readFile(place.path('web.raw'))).equals(before)).toBe(true);
  await place.ok('checkout', 'web-test', '-o', 'web.raw', '--force');
  expect((await readFile(place.path('web.raw'))).equals(disk(4, undefined, 2))).toBe(true);
});

test('checkout leaves no file behind when it fails', async () => {
  const place = await sample();
  for (const args of [
    ['nothing'],
    ['web', '--disk', 'vdz'],
    ['web', '-o', 'no/such/a.raw'],
    ['web', '-o', '.imgstore'],
  ]) {
    const before = await readdir(place.folder);
    const outcome = await place.run('checkout', ...args);
    expect(outcome.status).toBe(1);
    oneLine(outcome);
    expect(await readdir(place.folder)).toEqual(before);
  }
  expect(existsSync(place.path('no'))).toBe(false);
});

test('checkout --snapshots writes several versions into one file, and refuses options that it cannot keep', async () => {
  const place = await sample();
  const made = await place.json('checkout', 'v1', 'web', '-o', 'all.qcow2', '--snapshots', '--active', 'v1');
  expect(made).toEqual({
    file: 'all.qcow2',
    format: 'qcow2',
    virtualSize: 3 * CLUSTER,
    writtenBytes: 3 * CLUSTER,
    backing: null,
    seconds: NUMBER,
    snapshots: [
      { id: '1', name: 'v1', commit: place.git('rev-parse', 'web~1') },
      { id: '2', name: 'web', commit: place.git('rev-parse', 'web') },
    ],
  });
  expect((await qemuBytes(place.path('all.qcow2'))).equals(disk(1, undefined, 2))).toBe(true);
  await qemuCheck(place.path('all.qcow2'));
  expect(await place.ok('checkout', 'v1', 'web', '--snapshots')).toMatch(
    /^web\.qcow2: qcow2, 192 KiB, with 2 snapshots \(v1, web\), 192 KiB written in \d+\.\d s\n$/,
  );
  for (const args of [
    ['v1', 'web'],
    ['v1', '--active', 'v1'],
    ['v1', 'web', '--snapshots', '--backing', 'chain'],
    ['v1', 'web', '--snapshots', '--compress', 'zlib'],
    ['v1', 'web', '--snapshots', '--format', 'raw'],
    ['v1', 'web', '--snapshots', '--skip-damaged'],
  ]) {
    const refused = await place.run('checkout', ...args, '-o', 'no.qcow2');
    expect(refused.status, args.join(' ')).toBe(2);
    oneLine(refused);
  }
  expect(existsSync(place.path('no.qcow2'))).toBe(false);
});

test('checkout refuses a depth that no chain has', async () => {
  const place = await sample();
  for (const depth of ['0', '65', '-1', 'many', '1e3', '', '999999999999']) {
    const refused = await place.run(
      'checkout',
      'web',
      '-o',
      'a.qcow2',
      '--backing',
      'chain',
      '--depth',
      depth,
    );
    expect(refused.status, depth).toBe(2);
    oneLine(refused);
  }
  const alone = await place.run('checkout', 'web', '-o', 'a.qcow2', '--depth', '1');
  expect(oneLine(alone)).toBe('--depth is for --backing chain and fork: nothing else writes a chain');
  const forked = await place.json('checkout', 'web', '-o', 'a.qcow2', '--backing', 'fork', '--depth', '1');
  expect(forked.backing).toBe(`base-${place.git('rev-parse', 'web~1').slice(0, 12)}-vda.qcow2`);
});

test('commit reads an overlay whose base is gone on the stored version, and --stored-base names it', async () => {
  const place = await sample();
  await place.ok('checkout', 'web-test', '-o', 'top.qcow2', '--backing', 'chain');
  const { origin } = await place.json('info', 'top.qcow2');
  const base = { commit: place.git('rev-parse', 'v1'), disk: 'vda', file: expect.stringMatching(/^base-/) };
  expect(origin).toEqual({ commit: place.git('rev-parse', 'web-test'), disk: 'vda', base });
  expect(await place.ok('info', 'top.qcow2')).toMatch(
    /^checked out: {3}disk vda of [0-9a-f]{12}, on disk vda of /m,
  );
  await rm(place.path(origin.base.file));
  const known = await place.run('compare', 'web-test', 'top.qcow2');
  expect(known).toMatchObject({ status: 0, stdout: 'identical\n' });
  expect(known.stderr).toContain('is gone: read on disk vda of version');
  await rm(place.path('.imgstore/imgstore/key'));
  const refused = await place.run('commit', 'top.qcow2', '-b', 'new');
  expect(refused.status).toBe(1);
  expect(oneLine(refused)).toContain('this store did not write that: pass --stored-base');
  expect(await place.ok('commit', 'top.qcow2', '-b', 'new', '--stored-base', 'v1')).toContain('same bytes');
});
