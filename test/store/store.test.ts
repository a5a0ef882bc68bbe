import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { watchPoints } from '../../files/index.ts';
import { initStore, Store } from '../../store/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { git, gitFsck } from './git.ts';
import { listFiles, newStore } from './new-store.ts';

test('initStore makes a bare git repository in SHA-256 format that git finds nothing wrong with', async () => {
  const { store, path } = await newStore(65536);
  expect(await git(path, 'rev-parse', '--is-bare-repository')).toBe('true');
  expect(await git(path, 'rev-parse', '--show-object-format')).toBe('sha256');
  expect(await git(path, 'config', 'gc.auto')).toBe('0');
  expect(store).toMatchObject({ folder: path, clusterSize: 65536 });
  await gitFsck(path);
});

test('initStore throws EXISTS for a store that is there, and leaves it', async () => {
  const { path } = await newStore();
  const files = listFiles(path);
  await expect(initStore(join(path, '..'))).rejects.toMatchObject({ code: 'EXISTS' });
  expect(listFiles(path)).toEqual(files);
});

test.each([0, 1000, 2048, 65537, 4 * 2 ** 20, Number.NaN])(
  'initStore throws USAGE for clusters of %d bytes',
  async (clusterSize) => {
    const folder = await temporaryFolder();
    await expect(initStore(folder, { clusterSize })).rejects.toMatchObject({ code: 'USAGE' });
    expect(listFiles(folder)).toEqual([]);
  },
);

test.each(['init.write', 'init.fsync-folder', 'init.rename'])(
  'initStore leaves nothing when %s fails',
  async (point) => {
    const folder = await temporaryFolder();
    const stop = watchPoints((at) => {
      if (at === point) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
    });
    onTestFinished(stop);
    await expect(initStore(folder)).rejects.toMatchObject({ code: 'IO' });
    expect(listFiles(folder)).toEqual([]);
  },
);

test('initStore makes the folders above that are missing', async () => {
  const folder = join(await temporaryFolder(), 'a/b');
  const store = await initStore(folder);
  store.close();
  expect(store.folder).toBe(join(folder, '.imgstore'));
});

test('Store.find goes up to the nearest folder that has a store', async () => {
  const { path, file } = await newStore();
  mkdirSync(file('a/b'), { recursive: true });
  const found = await Store.find(file('a/b'));
  expect(found.folder).toBe(path);
  found.close();
});

test('Store.open takes the store or the folder that it is in', async () => {
  const { path } = await newStore();
  for (const folder of [path, join(path, '..')]) {
    const store = await Store.open(folder);
    expect(store.folder).toBe(path);
    store.close();
  }
});

test('Store.open throws NO_STORE where there is none', async () => {
  const folder = await temporaryFolder();
  await expect(Store.open(folder)).rejects.toMatchObject({ code: 'NO_STORE' });
  await expect(Store.open(join(folder, 'missing'))).rejects.toMatchObject({ code: 'NO_STORE' });
});

test('Store.open throws BAD_STORE for a git repository that is no store', async () => {
  const folder = await temporaryFolder();
  await git(folder, 'init', '--bare', '--object-format=sha256', '-q', folder);
  await expect(Store.open(folder)).rejects.toMatchObject({ code: 'BAD_STORE' });
});

test.each([
  ['imgstore.version = 2', 'use a newer one'],
  ['imgstore.version = one', 'imgstore.version'],
  ['imgstore.clusterSize = 5000', 'clusterSize'],
  ['imgstore.clusterSize = large', 'clusterSize'],
  ['imgstore.compression = 10', 'compression'],
  ['imgstore.unpackLimit = -1', 'unpackLimit'],
  ['extensions.objectformat = sha1', 'sha256'],
])('Store.open throws BAD_STORE for the setting %s', async (setting, part) => {
  const { path } = await newStore();
  const [key, value] = setting.split(' = ');
  const [section, name] = key!.split('.');
  writeFileSync(join(path, 'config'), `[${section}]\n\t${name} = ${value}\n`, { flag: 'a' });
  await expect(Store.open(path)).rejects.toMatchObject({
    code: 'BAD_STORE',
    message: expect.stringContaining(part),
  });
});

test('Store.open throws BAD_STORE naming file and line of a config that is not valid', async () => {
  const { path } = await newStore();
  writeFileSync(join(path, 'config'), '[imgstore\n');
  await expect(Store.open(path)).rejects.toMatchObject({
    code: 'BAD_STORE',
    message: expect.stringMatching(/config:1: /),
  });
});
