import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { ImgstoreError } from '../../../errors/index.ts';
import {
  cloneStore,
  collectGarbage,
  fetchRemote,
  listImages,
  listRemoteRefs,
  logVersions,
  pushRefs,
} from '../../../store/index.ts';
import { keepShared } from '../../../store/remote/shared-refs.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { git, gitFsck, gitObjects, gitWith } from '../git.ts';
import { reopen, type TestStore } from '../new-store.ts';
import {
  bareRepository,
  commitMore,
  cutAfter,
  leftovers,
  openStore,
  refsOf,
  storeWithRemote,
  useFakeSsh,
} from './places.ts';

/** A store whose remote has a version that it has not. */
async function behind(
  url: (bare: string) => string = (bare) => bare,
): Promise<{ bare: string; one: TestStore; news: string }> {
  const bare = await bareRepository();
  const one = await storeWithRemote(url(bare));
  await git(one.path, 'push', '-q', bare, 'web', 'db');
  const other = await storeWithRemote(bare);
  const { store } = await cloneStore({ url: bare, folder: await temporaryFolder(), branches: [] });
  const two = { ...other, path: store };
  const news = await commitMore(two, 'web', [11, 12, 13, 14, 15, 16]);
  await pushRefs(await reopen(store), { refs: ['web'] });
  await fetchDb(one.path, bare);
  return { bare, one, news };
}

/** `origin/db` and `origin/web` as they were before the news. */
async function fetchDb(path: string, bare: string): Promise<void> {
  await git(path, 'update-ref', 'refs/remotes/origin/db', await git(bare, 'rev-parse', 'db'));
  await git(path, 'update-ref', 'refs/remotes/origin/web', await git(bare, 'rev-parse', 'web~1'));
}

/** Fails unless a fetch fails with a code, and the store is as it was. */
async function expectRefused(one: TestStore, codes: readonly string[]): Promise<void> {
  const before = { refs: await refsOf(one.path), objects: await gitObjects(one.path) };
  const error = await fetchRemote(await reopen(one.path), {}).catch((each: unknown) => each);
  expect(codes).toContain((error as ImgstoreError).code);
  expect({ refs: await refsOf(one.path), objects: await gitObjects(one.path) }).toEqual(before);
  expect(leftovers(one.path)).toEqual([]);
  await gitFsck(one.path);
}

/** Has the git of the other side send what a script makes instead of the pack that was asked for. */
async function sendInstead(script: string): Promise<void> {
  const folder = await temporaryFolder();
  const hook = join(folder, 'hook');
  writeFileSync(hook, `#!/bin/sh\n${script}\n`);
  chmodSync(hook, 0o755);
  writeFileSync(join(folder, 'config'), `[uploadpack]\n\tpackObjectsHook = ${hook}\n`);
  vi.stubEnv('GIT_CONFIG_GLOBAL', join(folder, 'config'));
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
}

test.each([
  ['the commit alone', (news: string) => `echo ${news} | git pack-objects --stdout -q`],
  ['an empty pack', () => 'git pack-objects --stdout -q </dev/null'],
  ['other objects', () => 'git rev-parse db | git pack-objects --stdout -q --revs'],
  ['a pack with a byte changed', () => `"$@" | perl -0777 -pe 'substr($_, length($_) / 2, 1) ^= "\\x01"'`],
  ['a pack with another checksum', () => `"$@" | perl -0777 -pe 'substr($_, -1) ^= "\\x01"'`],
  ['half a pack', () => '"$@" | head -c 3000'],
  ['no pack at all', () => 'echo nonsense'],
])('fetch takes nothing over when the remote sends %s', async (_, script) => {
  const { one, news } = await behind();
  await sendInstead(script(news));
  await expectRefused(one, ['DAMAGED', 'REMOTE_FAILED', 'REMOTE_UNREACHABLE']);
});

test.each([
  ['cut off', cutAfter(9000), ['DAMAGED', 'REMOTE_UNREACHABLE']],
  ['nonsense', 'echo nonsense', ['REMOTE_FAILED', 'REMOTE_UNREACHABLE']],
  ['empty', 'true', ['REMOTE_UNREACHABLE']],
])('fetch says what is wrong when the answer is %s', async (_, filter, codes) => {
  const { one } = await behind((bare) => `host:${bare}`);
  await useFakeSsh(filter);
  const refs = await refsOf(one.path);
  const error = await fetchRemote(await reopen(one.path), {}).catch((each: unknown) => each);
  expect(codes).toContain((error as ImgstoreError).code);
  expect((error as Error).message).not.toContain('\n');
  expect(await refsOf(one.path)).toEqual(refs);
  expect(leftovers(one.path)).toEqual([]);
});

test.each(['tree', 'blob'] as const)(
  'fetch takes nothing over when the remote has lost a %s',
  async (type) => {
    const { bare, one } = await behind();
    const lines = (await git(bare, 'ls-tree', '-r', '-t', 'web', 'disks/')).split('\n');
    const old = await git(bare, 'ls-tree', '-r', '-t', 'web~1', 'disks/');
    const lost = lines
      .map((line) => line.split(/[ \t]/))
      .find((line) => line[1] === type && !old.includes(line[2]!))![2]!;
    // Small pushes lie in loose files.
    rmSync(join(bare, 'objects', lost.slice(0, 2), lost.slice(2)));
    const before = await refsOf(one.path);
    await expect(fetchRemote(await reopen(one.path), {})).rejects.toMatchObject({
      code: expect.stringMatching(/^(DAMAGED|REMOTE_FAILED)$/),
    });
    expect(await refsOf(one.path)).toEqual(before);
    expect(leftovers(one.path)).toEqual([]);
  },
);

test('fetch goes on beside a ref of the remote whose object is missing', async () => {
  const { bare, one, news } = await behind();
  writeFileSync(join(bare, 'refs/heads/broken'), `${'ab'.repeat(32)}\n`);
  const { updates } = await fetchRemote(await reopen(one.path), {});
  expect(updates.map(({ ref, kind, to }) => [ref.replace('refs/remotes/origin/', ''), kind, to])).toEqual([
    ['broken', 'rejected', 'ab'.repeat(32)],
    ['db', 'unchanged', expect.anything()],
    ['web', 'forward', news],
  ]);
  expect((await refsOf(one.path)).join()).not.toContain('broken');
});

test('fetch refuses an object that git would find fault with', async () => {
  const { bare, one } = await behind();
  const input = `tree ${gitWith(bare, {}, 'mktree')}\nauthor nobody\ncommitter nobody\n\nx`;
  const bad = gitWith(bare, { input }, 'hash-object', '-t', 'commit', '-w', '--literally', '--stdin');
  writeFileSync(join(bare, 'refs/heads/bad'), `${bad}\n`);
  const before = await refsOf(one.path);
  await expect(fetchRemote(await reopen(one.path), {})).rejects.toMatchObject({ code: 'DAMAGED' });
  expect(await refsOf(one.path)).toEqual(before);
  expect(leftovers(one.path)).toEqual([]);
});

test('fetch takes foreign commits for what they are, and rejects a branch with a version that is none', async () => {
  const { bare, one } = await behind();
  const empty = gitWith(bare, {}, 'mktree');
  const foreign = gitWith(bare, { input: 'notes\n' }, 'commit-tree', empty);
  const blob = gitWith(bare, { input: '{"version": 1, "clusterSize": 3}' }, 'hash-object', '-w', '--stdin');
  const tree = gitWith(bare, { input: `100644 blob ${blob}\timage.json\n` }, 'mktree');
  const bad = gitWith(bare, { input: 'bad\n' }, 'commit-tree', tree);
  const after = gitWith(bare, { input: 'on it\n' }, 'commit-tree', empty, '-p', bad);
  await git(bare, 'update-ref', 'refs/heads/foreign', foreign);
  await git(bare, 'update-ref', 'refs/heads/bad', bad);
  await git(bare, 'update-ref', 'refs/heads/after', after);
  await git(bare, 'update-ref', 'refs/tags/tree', tree);
  const { updates } = await fetchRemote(await reopen(one.path), { tags: 'all' });
  const kinds = Object.fromEntries(
    updates.map(({ ref, kind }) => [ref.replace('refs/remotes/origin/', ''), kind]),
  );
  expect(kinds).toEqual({
    after: 'rejected',
    bad: 'rejected',
    db: 'unchanged',
    foreign: 'new',
    web: 'forward',
    'refs/tags/tree': 'new',
  });
  const cloned = await cloneStore({ url: bare, folder: await temporaryFolder(), branches: [] });
  expect(cloned.rejected.map(({ ref }) => ref)).toEqual([
    'refs/remotes/origin/after',
    'refs/remotes/origin/bad',
  ]);
  const store = await openStore(cloned.store);
  const images = await listImages(store);
  expect(images.map(({ name, damaged }) => [name, damaged])).toEqual([
    ['db', undefined],
    ['foreign', undefined],
    ['web', undefined],
  ]);
  for await (const { damaged } of logVersions(store, { all: true })) expect(damaged).toBeUndefined();
  await collectGarbage(store, { prune: 'now' });
  await gitFsck(cloned.store);
});

test('branches with names that imgstore gives to none are fetched, and not made here', async () => {
  const { bare } = await behind();
  for (const name of ['HEAD', '-x', 'ab'.repeat(32)])
    writeFileSync(join(bare, 'refs/heads', name), `${await git(bare, 'rev-parse', 'web')}\n`);
  const cloned = await cloneStore({ url: bare, folder: await temporaryFolder(), branches: [] });
  expect(cloned.branches.map(({ ref }) => ref)).toEqual(['refs/heads/db', 'refs/heads/web']);
  expect(cloned.rejected.map(({ reason }) => reason)).toEqual([
    expect.stringContaining("begins with '-'"),
    expect.stringContaining("is 'HEAD'"),
    expect.stringContaining('taken for an id'),
  ]);
  await gitFsck(cloned.store);
});

test('keepShared leaves out what is no name of a ref, and refs of imgstore itself', () => {
  const id = 'ab'.repeat(32);
  const names = [
    'refs/heads/../../config',
    'refs/heads/a\x1bb',
    'refs/heads/x.lock',
    'refs/imgstore/sessions/web/base',
    'config',
    'HEAD',
    'refs/heads/web',
  ];
  const { refs, head } = keepShared({ refs: names.map((name) => ({ name, id })), head: 'config' });
  expect(refs).toEqual([{ name: 'refs/heads/web', id }]);
  expect(head).toBeUndefined();
});

test('a remote in SHA-1 format is refused with what to do, full or empty', async () => {
  const folder = await temporaryFolder();
  const sha1 = join(folder, 'sha1.git');
  const one = await storeWithRemote(sha1);
  await git(sha1, 'init', '-q', '--bare', '--object-format=sha1', sha1);
  const wrong = { code: 'UNSUPPORTED', message: expect.stringContaining('--object-format=sha256') };
  await expect(pushRefs(one.store, { refs: [] })).rejects.toMatchObject(wrong);
  const commit = gitWith(sha1, { input: '' }, 'commit-tree', gitWith(sha1, {}, 'mktree'));
  await git(sha1, 'update-ref', 'refs/heads/main', commit);
  await expect(listRemoteRefs(one.store, undefined)).rejects.toMatchObject(wrong);
  await expect(cloneStore({ url: sha1, folder: join(folder, 'x'), branches: [] })).rejects.toMatchObject(
    wrong,
  );
});
