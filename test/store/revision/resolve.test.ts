import { expect, test } from 'vitest';
import { encodeCommit, encodeTree, type ObjectId } from '../../../objects/index.ts';
import { resolveCommit, resolveRevision, type Store } from '../../../store/index.ts';
import { git, tryGit } from '../git.ts';
import { newStore, reopen } from '../new-store.ts';
import { PERSON, someCommits, storeWithCommits } from '../refs/some-refs.ts';

/** A store with a line of commits, a fork, a merge, tags of every kind, names that are branch and tag, and logs. */
async function history() {
  const made = await storeWithCommits(5);
  const { store, path, ids } = made;
  const [side] = await someCommits(store, 1, [ids[1]!, ids[0]!]);
  const tree = await git(path, 'rev-parse', `${ids[0]}^{tree}`);
  const merge = await git(path, 'commit-tree', '-p', ids[4]!, '-p', side!, '-m', 'merge', tree);
  for (const id of [...ids, merge])
    await git(path, 'update-ref', '--create-reflog', '-m', 'step', 'refs/heads/web', id);
  await git(path, 'branch', 'side/one', side!);
  await git(path, 'tag', 'light', ids[2]!);
  await git(path, 'tag', '-a', '-m', 'm', 'v1', ids[3]!);
  await git(path, 'tag', '-a', '-m', 'm', 'v1-again', 'v1');
  await git(path, 'branch', 'both', ids[0]!);
  await git(path, 'tag', 'both', ids[1]!);
  await git(path, 'update-ref', 'refs/remotes/origin/web', ids[3]!);
  await git(path, 'symbolic-ref', 'refs/remotes/origin/HEAD', 'refs/remotes/origin/web');
  await git(path, 'symbolic-ref', 'HEAD', 'refs/heads/web');
  return { ...made, tree, merge, side: side! };
}

const NAMES = ['web', 'HEAD', '@', 'side/one', 'light', 'v1', 'v1-again', 'both', 'heads/both', 'tags/both'];
const MORE = [
  'refs/heads/web',
  'origin/web',
  'origin',
  'remotes/origin/web',
  'none',
  'refs',
  'heads',
  'config',
  'objects',
];
const STEPS = [
  '',
  '^',
  '^2',
  '^3',
  '^0',
  '~',
  '~2',
  '~3',
  '~9',
  '^{}',
  '^{commit}',
  '^{tree}',
  '~1^2',
  '^2^2',
  '^2~1',
  '^^^',
];

test('resolveRevision finds what git rev-parse finds, for any name and steps', async () => {
  const { store, path } = await history();
  for (const name of [...NAMES, ...MORE]) {
    for (const steps of STEPS) {
      const expected = tryGit(path, 'rev-parse', '--verify', '-q', name + steps);
      if (expected === undefined)
        await expect(resolveRevision(store, name + steps), name + steps).rejects.toMatchObject({
          code: 'NOT_FOUND',
        });
      else expect((await resolveRevision(store, name + steps)).id, name + steps).toBe(expected);
    }
  }
});

test('resolveRevision goes back in the log of a ref as git does', async () => {
  const { store, path } = await history();
  for (const text of ['web@{0}', 'web@{1}', 'web@{5}', 'web@{2}~1', 'web@{1}^{tree}', '@{1}'])
    expect((await resolveRevision(store, text)).id, text).toBe(await git(path, 'rev-parse', text));
  await expect(resolveRevision(store, 'web@{6}')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(resolveRevision(store, 'side/one@{1}')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(resolveRevision(store, 'none@{1}')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('resolveRevision takes ids and unique prefixes in either case, of loose and of packed objects', async () => {
  const { store, path, ids, tree } = await history();
  const both = async (opened: Store) => {
    for (const id of [...ids, tree])
      for (const text of [id, id.slice(0, 12), id.slice(0, 12).toUpperCase(), id.slice(0, 10)])
        expect((await resolveRevision(opened, text)).id).toBe(id);
  };
  await both(store);
  await git(path, 'repack', '-adq');
  await both(await reopen(path));
});

test('resolveRevision finds prefixes in packs that another process made since', async () => {
  const { store, path, ids } = await history();
  expect((await resolveRevision(store, ids[0]!.slice(0, 12))).id).toBe(ids[0]);
  await git(path, 'repack', '-adq');
  expect((await resolveRevision(store, ids[1]!.slice(0, 12))).id).toBe(ids[1]);
  expect((await resolveRevision(store, ids[2]!)).id).toBe(ids[2]);
});

test('resolveRevision says of which ref it is', async () => {
  const { store } = await history();
  const ref = async (text: string) => (await resolveRevision(store, text)).ref;
  expect(await ref('web')).toBe('refs/heads/web');
  expect(await ref('both')).toBe('refs/tags/both');
  expect(await ref('web~1')).toBeUndefined();
  expect(await ref('web@{1}')).toBeUndefined();
});

test('resolveCommit goes through tags and refuses what leads to no version', async () => {
  const { store, path, ids, tree } = await history();
  expect(await resolveCommit(store, 'v1-again')).toBe(ids[3]);
  await git(path, 'tag', 'of-tree', tree);
  await expect(resolveCommit(store, 'of-tree')).rejects.toMatchObject({
    code: 'NOT_FOUND',
    data: { type: 'tree' },
  });
  await expect(resolveCommit(store, 'web^{tree}')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test.each([
  'none',
  'abc',
  '0'.repeat(64),
  'f'.repeat(12),
  'refs/heads/../../HEAD',
  '../web',
  'a b',
  'web.lock',
  'FETCH_HEAD',
])('resolveRevision throws NOT_FOUND for %s', async (text) => {
  const { store } = await storeWithCommits(1);
  await expect(resolveRevision(store, text)).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('resolveRevision says how long an id must be when it is too short', async () => {
  const { store } = await storeWithCommits(1);
  await expect(resolveRevision(store, 'abc')).rejects.toThrow('an id needs 4 digits');
});

test('resolveRevision says that there is no version yet when HEAD leads nowhere', async () => {
  const { store } = await newStore();
  await expect(resolveRevision(store, 'HEAD')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(resolveRevision(store, 'HEAD')).rejects.toThrow('no version yet');
});

/** Prefixes of four digits that several of the ids have. */
function collisions(ids: readonly ObjectId[]): string[] {
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(id.slice(0, 4), (counts.get(id.slice(0, 4)) ?? 0) + 1);
  return [...counts].filter(([, count]) => count > 1).map(([prefix]) => prefix);
}

test('resolveRevision throws AMBIGUOUS with the candidates when a prefix begins several versions', async () => {
  const { store, path } = await newStore(4096, { unpackLimit: 100 });
  const ids = await someCommits(store, 1000);
  const prefix = collisions(ids)[0]!;
  const candidates = ids.filter((id) => id.startsWith(prefix));
  const failure = await resolveRevision(store, prefix).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'AMBIGUOUS' });
  const { data } = failure as { data: { candidates: ObjectId[] } };
  expect([...data.candidates].sort()).toEqual([...candidates].sort());
  expect(tryGit(path, 'rev-parse', '--verify', '-q', `${prefix}^{commit}`)).toBeUndefined();
  expect((await resolveRevision(store, candidates[0]!.slice(0, 16))).id).toBe(candidates[0]);
});

test('resolveRevision prefers the version when a prefix begins one and other objects too', async () => {
  const { store, path } = await newStore(4096, { unpackLimit: 100 });
  const transaction = store.begin();
  const blobs: ObjectId[] = [];
  for (let i = 0; i < 3000; i++) blobs.push(await transaction.put('blob', Buffer.from(`${i}`)));
  const tree = await transaction.put('tree', encodeTree([]));
  const prefixes = new Set(blobs.map((id) => id.slice(0, 4)));
  let commit = '';
  for (let i = 0; !prefixes.has(commit.slice(0, 4)); i++) {
    const data = { tree, parents: [], author: PERSON, committer: PERSON, message: `${i}\n`, extra: [] };
    commit = await transaction.put('commit', encodeCommit(data));
  }
  await transaction.publish();
  await transaction.discard();
  const prefix = commit.slice(0, 4);
  expect((await resolveRevision(store, prefix)).id).toBe(commit);
  expect(await git(path, 'rev-parse', '--verify', '-q', `${prefix}^{commit}`)).toBe(commit);
});
