import { writeFileSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import { NULL_ID } from '../../../objects/index.ts';
import { renameBranch } from '../../../store/index.ts';
import type { Refs } from '../../../store/refs/refs.ts';
import { renameRef } from '../../../store/refs/rename.ts';
import { failAtEach, noSpace } from '../../files/fault.ts';
import { git, gitFsck, gitWith } from '../git.ts';
import { listFiles } from '../new-store.ts';
import { isThere, move, PERSON, storeWithCommits } from './some-refs.ts';

const PAIRS = [
  ['web', 'www'],
  ['a', 'a/b'],
  ['a/b', 'a'],
  ['a/b', 'a/b/c'],
] as const;

function rename(refs: Refs, from: string, to: string, id: string, force = false) {
  const [old, next] = [`refs/heads/${from}`, `refs/heads/${to}`];
  return renameRef(refs, { from: old, to: next, id, person: PERSON, message: 'renamed', force });
}

test.each(PAIRS)('renameRef of %s to %s leaves a ref at the version at every moment', async (from, to) => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, `refs/heads/${from}`, NULL_ID, ids[0]!, 'one');
  await move(refs, `refs/heads/${from}`, ids[0], ids[1]!, 'two');
  const seen: string[] = [];
  const stop = watchPoints((point) => {
    const there = gitWith(path, {}, 'for-each-ref', '--format=%(objectname)');
    seen.push(`${point} ${there.split('\n').includes(ids[1]!)}`);
  });
  onTestFinished(stop);
  await rename(refs, from, to, ids[1]!);
  stop();
  expect(seen.length).toBeGreaterThan(8);
  expect(seen.filter((line) => line.endsWith('false'))).toEqual([]);
  expect(await git(path, 'for-each-ref', '--format=%(refname)')).toBe(`refs/heads/${to}`);
  expect(await git(path, 'reflog', 'show', '--format=%gs', to)).toBe('renamed\ntwo\none');
  expect(listFiles(path).filter((name) => name.includes('renamed'))).toEqual([]);
  await gitFsck(path);
});

test.each(PAIRS)('renameRef of %s to %s leaves one of the names wherever it fails', async (from, to) => {
  const { refs, path, ids } = await storeWithCommits(2);
  const begin = async () => {
    for (const { name, id } of await refs.list()) await move(refs, name, id, NULL_ID);
    await move(refs, `refs/heads/${from}`, NULL_ID, ids[0]!);
  };
  await begin();
  const failed = await failAtEach(
    () => rename(refs, from, to, ids[0]!),
    async (error, point) => {
      expect(error, point).toMatchObject({ code: 'IO' });
      const names = (await refs.list()).map(({ name }) => name.slice('refs/heads/'.length));
      expect(names, point).not.toEqual([]);
      // Only when the stand-in itself could not be removed is it there beside the new name.
      for (const name of names) expect([from, to, 'a-renamed', 'a/b-renamed'], point).toContain(name);
      expect(
        listFiles(path).filter((name) => name.endsWith('.lock')),
        point,
      ).toEqual([]);
      await begin();
    },
  );
  expect(failed).toContain('ref.remove');
});

test.each([
  ['nothing', false],
  ['another branch', true],
])(
  'renameRef leaves all as it was when the old name cannot be removed and %s had the new one',
  async (_, there) => {
    const { refs, path, ids } = await storeWithCommits(3);
    await move(refs, 'refs/heads/web', NULL_ID, ids[0]!, 'one');
    await move(refs, 'refs/heads/web', ids[0], ids[1]!, 'two');
    if (there) {
      await move(refs, 'refs/heads/db', NULL_ID, ids[1]!, 'theirs');
      await move(refs, 'refs/heads/db', ids[1], ids[2]!, 'theirs too');
    }
    const state = async () => ({
      refs: await refs.list(),
      logs: await Promise.all(['web', 'db'].map((name) => refs.logs.read(`refs/heads/${name}`))),
      files: listFiles(path),
    });
    writeFileSync(`${path}/refs/heads/web.lock`, '');
    const before = await state();
    await expect(rename(refs, 'web', 'db', ids[1]!, there)).rejects.toMatchObject({ code: 'BUSY' });
    expect(await state()).toEqual(before);
  },
);

test('renameRef tells the name that the branch has when nothing can be written any more', async () => {
  const { refs, ids } = await storeWithCommits(1);
  await move(refs, 'refs/heads/a', NULL_ID, ids[0]!);
  let removed = false;
  onTestFinished(
    watchPoints((point) => {
      if (removed && point !== 'ref.fsync-folder' && point !== 'reflog.remove') throw noSpace();
      removed ||= point === 'ref.remove';
    }),
  );
  await expect(rename(refs, 'a', 'a/b', ids[0]!)).rejects.toMatchObject({
    code: 'IO',
    message: expect.stringContaining("named 'a-renamed' now: run 'imgstore branch -m a-renamed a/b'"),
  });
  expect(await refs.list()).toEqual([{ name: 'refs/heads/a-renamed', id: ids[0] }]);
});

test('renameRef chooses a stand-in that no branch excludes', async () => {
  const { refs, path, ids } = await storeWithCommits(2);
  for (const name of ['a', 'a-renamed', 'a-renamed-2/x'])
    await move(refs, `refs/heads/${name}`, NULL_ID, ids[0]!);
  await rename(refs, 'a', 'a/b', ids[0]!);
  expect(await git(path, 'for-each-ref', '--format=%(refname:short)')).toBe('a-renamed\na-renamed-2/x\na/b');
});

test('renameRef throws EXISTS and changes nothing when a third branch is in the way', async () => {
  const { refs, path, ids } = await storeWithCommits(2);
  for (const name of ['a/b', 'a/c']) await move(refs, `refs/heads/${name}`, NULL_ID, ids[0]!);
  const files = listFiles(path);
  await expect(rename(refs, 'a/b', 'a', ids[0]!)).rejects.toMatchObject({
    code: 'EXISTS',
    message: expect.stringContaining("'a/c' is in the way"),
  });
  expect(listFiles(path)).toEqual(files);
});

test('renameRef puts the old name back when the branch moves meanwhile', async () => {
  const { refs, path, ids } = await storeWithCommits(2);
  await move(refs, 'refs/heads/a', NULL_ID, ids[0]!);
  let done = false;
  onTestFinished(
    watchPoints((_point, at) => {
      // The stand-in is there: now somebody commits.
      if (done || !isThere(path, 'refs/heads/a-renamed') || at.includes('renamed')) return;
      done = true;
      gitWith(path, {}, 'update-ref', 'refs/heads/a', ids[1]!);
    }),
  );
  await expect(rename(refs, 'a', 'a/b', ids[0]!)).rejects.toMatchObject({ code: 'REF_MOVED' });
  expect(await refs.list()).toEqual([{ name: 'refs/heads/a', id: ids[1] }]);
});

test('renameBranch by force replaces the branch of the new name with its log', async () => {
  const { store, refs, path, ids } = await storeWithCommits();
  await move(refs, 'refs/heads/web', NULL_ID, ids[0]!, 'mine');
  await move(refs, 'refs/heads/db', NULL_ID, ids[2]!, 'theirs');
  await git(path, 'symbolic-ref', 'HEAD', 'refs/heads/web');
  expect(await renameBranch(store, 'web', 'db', true)).toBe(ids[0]);
  expect(await git(path, 'for-each-ref', '--format=%(refname) %(objectname)')).toBe(
    `refs/heads/db ${ids[0]}`,
  );
  expect((await refs.logs.read('refs/heads/db')).map(({ message }) => message)).toEqual([
    'mine',
    'branch: renamed refs/heads/web to refs/heads/db',
  ]);
  expect(await git(path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/db');
  expect(await renameBranch(store, 'db', 'db', true)).toBe(ids[0]);
  expect(await git(path, 'rev-parse', 'db')).toBe(ids[0]);
});

test('renameBranch gives a branch that git named like an id another name', async () => {
  const { store, path, ids } = await storeWithCommits(2);
  await git(path, 'update-ref', `refs/heads/${ids[0]}`, ids[1]!);
  expect(await renameBranch(store, ids[0]!, 'web')).toBe(ids[1]);
  expect(await git(path, 'for-each-ref', '--format=%(refname:short)')).toBe('web');
});
