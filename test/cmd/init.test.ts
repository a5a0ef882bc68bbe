import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { oneLine, Workplace } from './imgstore.ts';

test('init makes a git repository in SHA-256 format', async () => {
  const place = await Workplace.create();
  const stdout = await place.ok('init');
  expect(stdout).toBe(`made a store in ${place.path('.imgstore')} (clusters of 64 KiB)\n`);
  expect(place.git('rev-parse', '--show-object-format')).toBe('sha256');
  expect(place.git('config', 'gc.auto')).toBe('0');
});

test('init takes a folder and a cluster size, and answers in JSON', async () => {
  const place = await Workplace.create();
  await mkdir(place.path('vms'));
  const result = await place.json('init', 'vms', '--cluster-size', '4K');
  expect(result).toEqual({ store: place.path('vms/.imgstore'), clusterSize: 4096 });
  expect(await readFile(place.path('vms/.imgstore/config'), 'utf8')).toContain('clusterSize = 4096');
});

test.each(['4K', '64K', '0x10000', '1M', '2m', '2097152'])('init --cluster-size %s', async (size) => {
  const place = await Workplace.create();
  const { status, stdout } = await place.run('init', '--cluster-size', size, '--json');
  const bytes: Record<string, number> = {
    '4K': 4096,
    '64K': 65536,
    '1M': 2 ** 20,
    '2m': 2 ** 21,
    2097152: 2 ** 21,
  };
  if (bytes[size] === undefined) expect(status).toBe(2);
  else expect(JSON.parse(stdout).clusterSize).toBe(bytes[size]);
});

test.each(['0', '1K', '5000', '4M', '96K', '-64K', '64KX', ''])(
  'init refuses the cluster size %j and makes nothing',
  async (size) => {
    const place = await Workplace.create();
    const outcome = await place.run('init', '--cluster-size', size);
    expect(outcome.status).toBe(2);
    oneLine(outcome);
    expect(existsSync(place.path('.imgstore'))).toBe(false);
  },
);

test('init leaves a store alone when there is one', async () => {
  const place = await Workplace.withStore('--cluster-size', '4K');
  const outcome = await place.run('init');
  expect(outcome.status).toBe(1);
  expect(oneLine(outcome)).toBe(`${place.path('.imgstore')}: a store is here already`);
  expect(await readFile(place.path('.imgstore/config'), 'utf8')).toContain('clusterSize = 4096');
});

test('init makes the folders on the way when they are not there', async () => {
  const place = await Workplace.create();
  await place.ok('init', 'no/such');
  expect(existsSync(place.path('no/such/.imgstore/HEAD'))).toBe(true);
});

test('init fails with the path when a file is in the way', async () => {
  const place = await Workplace.create();
  await writeFile(place.path('file'), '');
  const outcome = await place.run('init', 'file');
  expect(outcome.status).toBe(1);
  expect(oneLine(outcome)).toContain(place.path('file'));
});
