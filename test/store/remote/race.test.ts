import { expect, test } from 'vitest';
import { cloneStore, fetchRemote, pullBranches, pushRefs } from '../../../store/index.ts';
import { GitTransport } from '../../../store/remote/git-transport.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { git, gitFsck } from '../git.ts';
import { reopen, type TestStore } from '../new-store.ts';
import { bareRepository, commitMore, openStore, refsOf, storeWithRemote } from './places.ts';

/** Two stores with the same history and one remote. */
async function twoStores(): Promise<{ bare: string; one: TestStore; two: TestStore }> {
  const bare = await bareRepository();
  const one = await storeWithRemote(bare);
  await pushRefs(one.store, { refs: [] });
  const folder = await temporaryFolder();
  const { store: path } = await cloneStore({ url: bare, folder, branches: [] });
  const file = (name: string) => `${folder}/${name}`;
  return { bare, one, two: { store: await openStore(path), path, file } };
}

test('of two pushes to one branch at once one wins, and the other is told', async () => {
  const { bare, one, two } = await twoStores();
  const ids = [await commitMore(one, 'web', [1]), await commitMore(two, 'web', [2])];
  const stores = [await reopen(one.path), await reopen(two.path)];
  const pushed = await Promise.all(stores.map((store) => pushRefs(store, { refs: ['web'] })));
  const kinds = pushed.map(({ updates }) => updates[0]!.kind);
  expect(kinds.toSorted()).toEqual(['forward', 'rejected']);
  const winner = kinds.indexOf('forward');
  expect(await git(bare, 'rev-parse', 'web')).toBe(ids[winner]);
  expect(pushed[1 - winner]!.updates[0]!.reason).toMatch(/fetch/);
  await gitFsck(bare);
});

test('push leaves a ref that moved after it was looked at', async () => {
  const { bare, one, two } = await twoStores();
  const before = await git(bare, 'rev-parse', 'web');
  const first = await commitMore(one, 'web', [1]);
  const second = await commitMore(two, 'web', [2]);
  const move = (after: string) => [{ name: 'refs/heads/web', before, after }];
  const ok = await new GitTransport(await reopen(one.path), bare).push(move(first));
  expect(ok.results).toEqual([{ name: 'refs/heads/web', fault: undefined, moved: false }]);
  const late = await new GitTransport(await reopen(two.path), bare).push(move(second));
  expect(late.results).toMatchObject([{ name: 'refs/heads/web', moved: true }]);
  expect(await git(bare, 'rev-parse', 'web')).toBe(first);
});

test('push does not make a branch that somebody else has made meanwhile', async () => {
  const { bare, one } = await twoStores();
  const after = await commitMore(one, 'new', [1]);
  const transport = new GitTransport(await reopen(one.path), bare);
  await git(bare, 'branch', 'new', 'web');
  const { results } = await transport.push([{ name: 'refs/heads/new', before: '0'.repeat(64), after }]);
  expect(results).toMatchObject([{ moved: true }]);
  expect(await git(bare, 'rev-parse', 'new')).toBe(await git(bare, 'rev-parse', 'web'));
});

test('push refuses to take versions from a branch, and --force and leases allow it', async () => {
  const { bare, one, two } = await twoStores();
  const theirs = await commitMore(two, 'web', [2]);
  await pushRefs(await reopen(two.path), { refs: ['web'] });
  const ours = await commitMore(one, 'web', [1]);
  const open = () => reopen(one.path);

  const refused = await pushRefs(await open(), { refs: ['web', 'db'] });
  expect(refused.updates).toMatchObject([
    { ref: 'refs/heads/web', kind: 'rejected', reason: expect.stringContaining("run 'imgstore fetch'") },
    { ref: 'refs/heads/db', kind: 'unchanged' },
  ]);
  const stale = await pushRefs(await open(), { refs: ['web'], leases: [''] });
  expect(stale.updates).toMatchObject([{ kind: 'rejected', reason: expect.stringContaining('lease') }]);
  const wrong = await pushRefs(await open(), { refs: ['web'], leases: ['web:db'] });
  expect(wrong.updates[0]!.kind).toBe('rejected');
  expect(await git(bare, 'rev-parse', 'web')).toBe(theirs);

  await fetchRemote(await open(), {});
  const known = await pushRefs(await open(), { refs: ['web'] });
  expect(known.updates).toMatchObject([{ kind: 'rejected', reason: expect.stringContaining('history') }]);
  const leased = await pushRefs(await open(), { refs: ['web'], leases: ['web'] });
  expect(leased.updates).toMatchObject([{ kind: 'forced', from: theirs, to: ours }]);
  expect(await git(bare, 'rev-parse', 'web')).toBe(ours);
  expect((await refsOf(one.path, 'refs/remotes/origin/web'))[0]).toContain(ours);
  const back = await pushRefs(await open(), { refs: [`+${theirs}:web`] });
  expect(back.updates).toMatchObject([{ kind: 'forced', to: theirs }]);

  const pulled = await pullBranches(await open(), { branches: ['web'] });
  expect(pulled.branches).toMatchObject([
    { ref: 'refs/heads/web', kind: 'rejected', reason: expect.stringContaining('branch -f web') },
  ]);
  expect(await git(one.path, 'rev-parse', 'web')).toBe(ours);
});

test.each([
  ['web', 'refs/heads/web'],
  ['heads', 'refs/heads/heads'],
  ['web:nightly/web', 'refs/heads/nightly/web'],
  ['web~1:refs/tags/was', 'refs/tags/was'],
  ['tag1', 'refs/tags/tag1'],
  ['refs/heads/web:other', 'refs/heads/other'],
  ['refs/heads/*:refs/heads/mine/*', 'refs/heads/mine/web'],
  ['HEAD', 'refs/heads/web'],
])('push of %s makes %s', async (spec, made) => {
  const bare = await bareRepository();
  const one = await storeWithRemote(bare);
  await git(one.path, 'branch', 'heads', 'db');
  await git(one.path, 'tag', 'tag1', 'web~1');
  await pushRefs(await reopen(one.path), { refs: [spec] });
  expect((await refsOf(bare)).map((line) => line.split(' ')[0])).toContain(made);
});

test('push --delete and :DST remove branches and tags, and what follows them here', async () => {
  const { bare, one } = await twoStores();
  await git(bare, 'tag', 'v1', 'web');
  const gone = await pushRefs(await reopen(one.path), { refs: ['db', 'v1'], remove: true });
  expect(gone.updates).toMatchObject([
    { ref: 'refs/heads/db', kind: 'deleted', to: undefined },
    { ref: 'refs/tags/v1', kind: 'deleted' },
  ]);
  expect(await refsOf(bare)).toHaveLength(1);
  expect(await refsOf(one.path, 'refs/remotes')).toHaveLength(1);
  await pushRefs(await reopen(one.path), { refs: ['db'] });
  await pushRefs(await reopen(one.path), { refs: [':db'] });
  expect(await refsOf(bare)).toHaveLength(1);
  await expect(pushRefs(await reopen(one.path), { refs: [':db'] })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

test.each([
  [['nosuch'], 'NOT_FOUND'],
  [['both'], 'AMBIGUOUS'],
  [['web~1'], 'USAGE'],
  [['web~1:name'], 'USAGE'],
  [['web:refs/imgstore/x'], 'BAD_NAME'],
  [['web:refs/heads/a..b'], 'USAGE'],
  [['web:x', 'db:x'], 'AMBIGUOUS'],
  [['web:refs/heads/x', 'db:refs/heads/x'], 'AMBIGUOUS'],
  [['refs/heads/*:refs/heads/x'], 'USAGE'],
  [['*/*:*/*'], 'USAGE'],
  [[':'], 'USAGE'],
] as const)('push of %j is refused with %s', async (refs, code) => {
  const bare = await bareRepository();
  const one = await storeWithRemote(bare);
  await git(one.path, 'branch', 'both', 'db');
  await git(one.path, 'tag', 'both', 'web');
  await expect(pushRefs(await reopen(one.path), { refs })).rejects.toMatchObject({ code });
  expect(await refsOf(bare)).toEqual([]);
});
