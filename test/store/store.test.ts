import { execSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { watchPoints } from '../../files/index.ts';
import { initStore, Store } from '../../store/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { diskOf } from './disks.ts';
import { git, gitFsck, tryGit } from './git.ts';
import { commitBytes, listFiles, newStore, reopen } from './new-store.ts';

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
  ['extensions.objectformat = sha1', 'extensions.objectformat is sha1, a store has sha256'],
  ['core.repositoryformatversion = 2', 'core.repositoryformatversion is 2, this imgstore knows 1'],
  ['core.repositoryformatversion = 0', 'core.repositoryformatversion is 0, with extensions it must be 1'],
  ['core.repositoryformatversion = one', 'core.repositoryformatversion is one'],
  ['extensions.refstorage = reftable', 'refs must be files'],
  ['extensions.partialclone = origin', 'objects may be missing'],
  ['extensions.compatobjectformat = sha1', 'this imgstore does not know it'],
  ['extensions.something = true', 'extensions.something is true: this imgstore does not know it'],
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

test.each(['noop', 'noop-v1', 'preciousObjects', 'worktreeConfig', 'relativeWorktrees', 'refStorage'])(
  'Store.open takes the extension %s',
  async (name) => {
    const { path } = await newStore();
    const value = name === 'refStorage' ? 'files' : 'true';
    writeFileSync(join(path, 'config'), `[extensions]\n\t${name} = ${value}\n`, { flag: 'a' });
    expect((await reopen(path)).folder).toBe(path);
  },
);

test('Store.open and git refuse the same extension', async () => {
  const { path } = await newStore();
  await git(path, 'config', 'extensions.something', 'true');
  expect(tryGit(path, 'log')).toBeUndefined();
  await expect(Store.open(path)).rejects.toMatchObject({ code: 'BAD_STORE' });
});

test('Store.open takes the format from no file that the config includes', async () => {
  const { path, file } = await newStore();
  writeFileSync(file('more'), '[extensions]\n\tobjectformat = sha1\n\tsomething = 1\n');
  writeFileSync(join(path, 'config'), `[include]\n\tpath = ${file('more')}\n`, { flag: 'a' });
  expect((await reopen(path)).folder).toBe(path);
});

test('Store.open says how to mend a format version that git would refuse too', async () => {
  const { path } = await newStore();
  await git(path, 'config', 'core.repositoryformatversion', '0');
  expect(tryGit(path, 'log', '--all')).toBeUndefined();
  const error = await Store.open(path).catch((error: unknown) => error as Error);
  execSync(/run (git .*)$/.exec((error as Error).message)![1]!);
  expect((await reopen(path)).folder).toBe(path);
});

test.each([
  ['HEAD', /: has no HEAD: write 'ref: refs\/heads\/<image>' into .*\/HEAD$/],
  ['config', /: has no config: put back what is missing/],
  ['objects', /: has no objects: put back/],
  ['refs', /: has no refs: make the folder .*\/refs$/],
])(
  'Store.find throws BAD_STORE for a store without %s and does not go on to one further up',
  async (part, message) => {
    const { file } = await newStore();
    const inner = await initStore(file('inner'));
    inner.close();
    rmSync(join(inner.folder, part), { recursive: true });
    mkdirSync(file('inner/below'));
    for (const open of [
      () => Store.find(file('inner/below')),
      () => Store.open(file('inner')),
      () => Store.open(inner.folder),
    ])
      await expect(open()).rejects.toMatchObject({
        code: 'BAD_STORE',
        message: expect.stringMatching(message),
        data: { path: inner.folder },
      });
  },
);

test.each<[string, (path: string) => void]>([
  ['an empty folder', (path) => mkdirSync(path)],
  ['a file', (path) => writeFileSync(path, '')],
  ['a symbolic link to nothing', (path) => symlinkSync('nowhere', path)],
])('Store.find throws BAD_STORE when .imgstore is %s', async (_, make) => {
  const { file } = await newStore();
  mkdirSync(file('inner'));
  make(file('inner/.imgstore'));
  await expect(Store.find(file('inner'))).rejects.toMatchObject({
    code: 'BAD_STORE',
    message: expect.stringContaining(`${file('inner/.imgstore')}: has no HEAD, no config`),
  });
});

test('Store.open throws NO_STORE for a folder that has something by the name of a part', async () => {
  const folder = await temporaryFolder();
  mkdirSync(join(folder, 'objects'));
  await expect(Store.open(folder)).rejects.toMatchObject({ code: 'NO_STORE' });
});

test('Store.open throws BAD_STORE for a clone without a HEAD, whatever it is called', async () => {
  const { path, file } = await newStore();
  await git(path, 'clone', '-q', '--bare', path, file('copy.git'));
  rmSync(file('copy.git/HEAD'));
  await expect(Store.open(file('copy.git'))).rejects.toMatchObject({ code: 'BAD_STORE' });
});

test('Store.open throws UNSUPPORTED for a store that takes objects from another, and opens it after what that advises', async () => {
  const made = await newStore();
  const { commit } = await commitBytes(made, 'web', diskOf([1, 2]));
  const shared = made.file('a shared copy');
  await git(made.path, 'clone', '-q', '--bare', '--shared', made.path, shared);
  await git(shared, 'config', 'imgstore.version', '1');
  const error = (await Store.open(shared).catch((error: unknown) => error)) as Error;
  expect(error).toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining(`takes objects from ${made.path}/objects`),
  });
  execSync(/after (git .*)$/.exec(error.message)![1]!, { stdio: 'ignore' });
  rmSync(join(shared, 'objects/info/alternates'));
  rmSync(made.path, { recursive: true });
  expect((await reopen(shared)).objects.header(commit).type).toBe('commit');
  await gitFsck(shared);
});

test('Store.open takes an alternates file that names nothing', async () => {
  const { path } = await newStore();
  writeFileSync(join(path, 'objects/info/alternates'), '# none\n\n');
  expect((await reopen(path)).folder).toBe(path);
});

test('Store.open throws BAD_STORE naming file and line of a config that is not valid', async () => {
  const { path } = await newStore();
  writeFileSync(join(path, 'config'), '[imgstore\n');
  await expect(Store.open(path)).rejects.toMatchObject({
    code: 'BAD_STORE',
    message: expect.stringMatching(/config:1: /),
  });
});
