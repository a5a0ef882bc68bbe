import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test, vi } from 'vitest';
import {
  checkoutVersion,
  cloneStore,
  commitVersion,
  createTag,
  fetchRemote,
  listImages,
  packStore,
  pullBranches,
  pushRefs,
  resolveCommit,
} from '../../../store/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { git, gitFsck, gitObjects } from '../git.ts';
import { reopen } from '../new-store.ts';
import {
  bareRepository,
  commitMore,
  leftovers,
  openStore,
  refsOf,
  serveByHttp,
  storeWithRemote,
  useFakeSsh,
} from './places.ts';

/** How a bare repository is named. */
const WAYS: readonly (readonly [string, (path: string) => Promise<string>])[] = [
  ['a path', (path) => Promise.resolve(path)],
  ['file://', (path) => Promise.resolve(pathToFileURL(path).href)],
  ['http://', async (path) => `${await serveByHttp(dirname(path))}/${basename(path)}`],
  [
    'host:path',
    async (path) => {
      await useFakeSsh();
      return `somewhere:${path}`;
    },
  ],
];

test.each(WAYS)('push, clone, push, pull by %s gives the same ids and the same disks', async (_, way) => {
  const bare = await bareRepository();
  const url = await way(bare);
  const one = await storeWithRemote(url);
  await createTag(one.store, 'v1', 'web~1');
  await createTag(one.store, 'v2', 'db', { message: 'annotated' });
  const pushed = await pushRefs(one.store, { refs: [], allBranches: true, allTags: true });
  expect(pushed.updates.map(({ ref, kind }) => `${ref} ${kind}`)).toEqual([
    'refs/heads/db new',
    'refs/heads/web new',
    'refs/tags/v1 new',
    'refs/tags/v2 new',
  ]);
  expect(pushed.objects).toBe((await gitObjects(one.path)).length);
  expect(pushed.sentBytes).toBeGreaterThan(20_000);
  await gitFsck(bare);
  expect(await refsOf(bare)).toEqual((await refsOf(one.path)).filter((line) => !line.includes('remotes')));
  expect(await gitObjects(bare)).toEqual(await gitObjects(one.path));

  const folder = join(await temporaryFolder(), 'a', 'clone');
  const cloned = await cloneStore({ url, folder, branches: [] });
  expect(cloned).toMatchObject({ remote: 'origin', objects: pushed.objects, rejected: [] });
  await gitFsck(cloned.store);
  expect(await refsOf(cloned.store)).toEqual(await refsOf(one.path));
  expect(await git(cloned.store, 'symbolic-ref', 'HEAD')).toBe('refs/heads/web');
  expect(await git(cloned.store, 'config', 'imgstore.clusterSize')).toBe('4096');
  const two = {
    store: await openStore(cloned.store),
    path: cloned.store,
    file: (name: string) => join(folder, name),
  };
  for (const revision of ['web', 'db', 'v1']) {
    for (const each of [one, two])
      await checkoutVersion(each.store, { revision, output: each.file(`${revision}.qcow2`) });
    const compared = spawnSync('qemu-img', [
      'compare',
      one.file(`${revision}.qcow2`),
      two.file(`${revision}.qcow2`),
    ]);
    expect(compared.stdout.toString()).toContain('Images are identical');
  }

  const commit = await commitMore(two, 'web', [1, 2, 5, 6, 4]);
  const more = await pushRefs(await reopen(two.path), { refs: [] });
  expect(more.updates.find(({ ref }) => ref === 'refs/heads/web')).toMatchObject({
    kind: 'forward',
    to: commit,
  });
  // A cluster, its map and commit, and not the rest once more.
  expect(more.sentBytes).toBeLessThan(8192);
  const pulled = await pullBranches(await reopen(one.path), { branches: [] });
  expect(pulled.branches).toContainEqual(
    expect.objectContaining({ ref: 'refs/heads/web', kind: 'forward', to: commit }),
  );
  expect(await resolveCommit(await reopen(one.path), 'origin/web')).toBe(commit);
  await gitFsck(one.path);
  expect([leftovers(one.path), leftovers(two.path), leftovers(bare)]).toEqual([[], [], []]);
});

test('cloneStore of a store by the folder that it is in takes the store', async () => {
  const one = await storeWithRemote('/nowhere');
  const folder = await temporaryFolder();
  const { store } = await cloneStore({ url: one.file(''), folder, branches: [] });
  expect(await git(store, 'config', 'remote.origin.url')).toBe(one.path);
  expect((await listImages(await openStore(store))).map(({ name }) => name)).toEqual(['db', 'web']);
});

test('push and clone keep the deltas that pack has made, chain by chain', async () => {
  const bare = await bareRepository();
  const one = await storeWithRemote(bare);
  // Clusters that differ in a little only.
  const bytes = Buffer.alloc(64 * 4096, 0);
  for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE((i * 2654435761) >>> 0, i);
  for (let version = 0; version < 6; version++) {
    for (let cluster = 0; cluster < 64; cluster++) bytes.writeUInt8(version, cluster * 4096 + version * 100);
    const path = one.file('big.raw');
    writeFileSync(path, bytes);
    // Of the same second pack would take them in the order of their ids.
    vi.stubEnv('GIT_COMMITTER_DATE', `${1_700_000_000 + version} +0000`);
    await commitVersion(await reopen(one.path), { disks: [{ name: 'vda', path }], branch: 'big' });
  }
  vi.unstubAllEnvs();
  await packStore(await reopen(one.path));
  const chains = async (path: string) => {
    const { stdout } = spawnSync('sh', [
      '-c',
      `git verify-pack --object-format=sha256 -v '${path}'/objects/pack/*.idx | grep -E '^(chain|non)'`,
    ]);
    return stdout.toString();
  };
  const made = await chains(one.path);
  expect(made).toContain('chain length = 3');
  await pushRefs(await reopen(one.path), { refs: [] });
  expect(await chains(bare)).toBe(made);
  const { store } = await cloneStore({ url: bare, folder: await temporaryFolder(), branches: [] });
  expect(await chains(store)).toBe(made);
});

test('fetchRemote takes tags of what it fetches, and leaves one that is another here', async () => {
  const bare = await bareRepository();
  const one = await storeWithRemote(bare);
  await createTag(one.store, 'old', 'web~1', { message: 'first' });
  await createTag(one.store, 'same', 'web');
  await pushRefs(one.store, { refs: [], allBranches: true, allTags: true });
  const folder = await temporaryFolder();
  const { store: path } = await cloneStore({ url: bare, folder, branches: [] });
  expect((await refsOf(path, 'refs/tags')).map((line) => line.split(' ')[0])).toEqual([
    'refs/tags/old',
    'refs/tags/same',
  ]);

  await git(path, 'tag', '-f', 'same', 'web~1');
  await git(path, 'tag', '-d', 'old');
  const before = await refsOf(path, 'refs/tags/same');
  const notices: string[] = [];
  const store = await openStore(path);
  const none = await fetchRemote(store, { tags: 'none' });
  expect(none.updates.every(({ kind }) => kind === 'unchanged')).toBe(true);
  const { updates } = await fetchRemote(store, {}, { onNotice: (notice) => notices.push(notice) });
  expect(updates).toContainEqual(expect.objectContaining({ ref: 'refs/tags/old', kind: 'new' }));
  expect(notices.join()).toMatch(
    /tag 'same' is another on the remote .*'imgstore fetch origin \+refs\/tags\/same:refs\/tags\/same'/,
  );
  const all = await fetchRemote(store, { tags: 'all' });
  expect(all.updates).toContainEqual(expect.objectContaining({ ref: 'refs/tags/same', kind: 'rejected' }));
  expect(await refsOf(path, 'refs/tags/same')).toEqual(before);
  const forced = await fetchRemote(store, { refspecs: ['+refs/tags/same:refs/tags/same'] });
  expect(forced.updates).toContainEqual(expect.objectContaining({ ref: 'refs/tags/same', kind: 'forced' }));
});

test('fetchRemote --prune removes what the remote has no more, also where a name makes room for another', async () => {
  const bare = await bareRepository();
  const one = await storeWithRemote(bare);
  await git(one.path, 'branch', 'a', 'web');
  await pushRefs(one.store, { refs: [] });
  const { store: path } = await cloneStore({ url: bare, folder: await temporaryFolder(), branches: [] });
  await git(bare, 'branch', '-D', 'a');
  await git(bare, 'branch', 'a/b', 'web');
  const kept = await fetchRemote(await openStore(path), {});
  expect(kept.updates).toContainEqual(
    expect.objectContaining({ ref: 'refs/remotes/origin/a/b', kind: 'rejected' }),
  );
  const pruned = await fetchRemote(await openStore(path), { prune: true });
  expect(pruned.updates.map(({ ref, kind }) => [ref.slice('refs/remotes/'.length), kind])).toEqual([
    ['origin/a', 'deleted'],
    ['origin/a/b', 'new'],
    ['origin/db', 'unchanged'],
    ['origin/web', 'unchanged'],
  ]);
});
