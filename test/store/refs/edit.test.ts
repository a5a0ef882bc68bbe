import { describe, expect, test } from 'vitest';
import { parseTag } from '../../../objects/index.ts';
import {
  BRANCHES,
  createBranch,
  createTag,
  deleteRef,
  listTags,
  renameBranch,
  resolveRevision,
  TAGS,
} from '../../../store/index.ts';
import { git, gitFsck, tryGit } from '../git.ts';
import { isThere, storeWithCommits } from './some-refs.ts';

describe('createBranch', () => {
  test('createBranch makes a branch at a version, and the first one what HEAD means', async () => {
    const { store, path, ids } = await storeWithCommits();
    expect(await createBranch(store, 'web', ids[1]!)).toBe(ids[1]);
    await createBranch(store, 'db', 'web~1');
    expect(await git(path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/web');
    expect(await git(path, 'rev-parse', 'db', 'HEAD')).toBe(`${ids[0]}\n${ids[1]}`);
    await gitFsck(path);
  });

  test('createBranch throws EXISTS for a branch that is there unless forced', async () => {
    const { store, ids } = await storeWithCommits();
    await createBranch(store, 'web', ids[0]!);
    await expect(createBranch(store, 'web', ids[1]!)).rejects.toMatchObject({ code: 'EXISTS' });
    await createBranch(store, 'web', ids[1]!, true);
    expect((await resolveRevision(store, 'web')).id).toBe(ids[1]);
    expect((await resolveRevision(store, 'web@{1}')).id).toBe(ids[0]);
  });

  test('createBranch throws NOT_FOUND for an unknown version and BAD_NAME for a name that cannot be', async () => {
    const { store, ids } = await storeWithCommits(1);
    await expect(createBranch(store, 'web', 'nothing')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(createBranch(store, 'a..b', ids[0]!)).rejects.toMatchObject({ code: 'BAD_NAME' });
    expect(await store.refs.list()).toEqual([]);
  });
});

describe('createTag', () => {
  test('createTag makes light and annotated tags that git reads', async () => {
    const { store, path, ids } = await storeWithCommits();
    expect(await createTag(store, 'light', ids[0]!)).toBe(ids[0]);
    const tag = await createTag(store, 'v1', ids[1]!, { message: 'First release\n\nIt boots.\n' });
    expect(await git(path, 'cat-file', '-t', 'v1')).toBe('tag');
    expect(await git(path, 'rev-parse', 'v1', 'v1^{}')).toBe(`${tag}\n${ids[1]}`);
    expect(await git(path, 'tag', '-l', '-n9', 'v1', '--format=%(taggername) %(contents)')).toContain(
      'C. Mitter First release',
    );
    expect(parseTag(store.objects.readAs('tag', tag))).toMatchObject({
      name: 'v1',
      object: ids[1],
      type: 'commit',
    });
    await gitFsck(path);
  });

  test('createTag throws EXISTS for a tag that is there and leaves it, unless forced', async () => {
    const { store, ids } = await storeWithCommits();
    await createTag(store, 'v1', ids[0]!);
    await expect(createTag(store, 'v1', ids[1]!)).rejects.toMatchObject({ code: 'EXISTS' });
    await createTag(store, 'v1', ids[1]!, { force: true });
    expect((await resolveRevision(store, 'v1')).id).toBe(ids[1]);
  });

  test('listTags gives tags of ours and of git with the versions that they lead to', async () => {
    const { store, path, ids } = await storeWithCommits();
    await createTag(store, 'b', ids[0]!);
    await git(path, 'tag', '-a', '-m', 'of git', 'a', ids[1]!);
    await git(path, 'tag', '-a', '-m', 'of a tag', 'c', 'a');
    const listed = (await listTags(store)).map(({ name, target, annotation }) => [
      name,
      target,
      annotation?.message,
    ]);
    expect(listed).toEqual([
      ['a', ids[1], 'of git\n'],
      ['b', ids[0], undefined],
      ['c', ids[1], 'of a tag\n'],
    ]);
  });
});

describe('deleteRef', () => {
  test('deleteRef removes a branch and hands HEAD on to another one', async () => {
    const { store, path, ids } = await storeWithCommits();
    await createBranch(store, 'web', ids[1]!);
    await createBranch(store, 'db', ids[0]!);
    expect(await deleteRef(store, BRANCHES, 'web')).toBe(ids[1]);
    expect(await git(path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/db');
    expect(isThere(path, 'logs/refs/heads/web')).toBe(false);
    await deleteRef(store, BRANCHES, 'db');
    await createBranch(store, 'new', ids[2]!);
    expect(await git(path, 'rev-parse', 'HEAD')).toBe(ids[2]);
  });

  test('deleteRef removes a packed annotated tag', async () => {
    const { store, path, ids } = await storeWithCommits();
    const tag = await createTag(store, 'v1', ids[0]!, { message: 'one' });
    await createTag(store, 'v2', ids[1]!, { message: 'two' });
    await git(path, 'pack-refs', '--all');
    expect(await deleteRef(store, TAGS, 'v1')).toBe(tag);
    expect(await git(path, 'tag')).toBe('v2');
    expect(await git(path, 'rev-parse', 'v2^{}')).toBe(ids[1]);
  });

  test('deleteRef throws NOT_FOUND for what is not there', async () => {
    const { store } = await storeWithCommits(1);
    await expect(deleteRef(store, BRANCHES, 'web')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(deleteRef(store, TAGS, 'web')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('renameBranch', () => {
  test.each([
    ['web', 'www'],
    ['a', 'a/b'],
    ['a/b', 'a'],
    ['a/b', 'a/c'],
  ])('renameBranch gives %s with its log the name %s', async (from, to) => {
    const { store, path, ids } = await storeWithCommits();
    await createBranch(store, from, ids[0]!);
    await createBranch(store, from, ids[1]!, true);
    expect(await renameBranch(store, from, to)).toBe(ids[1]);
    expect(tryGit(path, 'rev-parse', '--verify', '-q', `refs/heads/${from}`)).toBeUndefined();
    expect(await git(path, 'symbolic-ref', 'HEAD')).toBe(`refs/heads/${to}`);
    const log = await git(path, 'reflog', 'show', '--format=%H', to);
    expect(log).toBe(`${ids[1]}\n${ids[1]}\n${ids[0]}`);
    expect((await resolveRevision(store, `${to}@{2}`)).id).toBe(await git(path, 'rev-parse', `${to}@{2}`));
    await gitFsck(path);
  });

  test('renameBranch renames a packed branch', async () => {
    const { store, path, ids } = await storeWithCommits();
    await createBranch(store, 'web', ids[0]!);
    await git(path, 'pack-refs', '--all');
    await renameBranch(store, 'web', 'www');
    expect(await git(path, 'for-each-ref', '--format=%(refname:short)')).toBe('www');
  });

  test('renameBranch throws NOT_FOUND, EXISTS or BAD_NAME and changes nothing', async () => {
    const { store, path, ids } = await storeWithCommits();
    await createBranch(store, 'web', ids[0]!);
    await createBranch(store, 'db', ids[1]!);
    const before = await git(path, 'for-each-ref');
    await expect(renameBranch(store, 'none', 'www')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(renameBranch(store, 'web', 'db')).rejects.toMatchObject({ code: 'EXISTS' });
    await expect(renameBranch(store, 'web', 'web')).rejects.toMatchObject({ code: 'EXISTS' });
    await expect(renameBranch(store, 'web', '-x')).rejects.toMatchObject({ code: 'BAD_NAME' });
    expect(await git(path, 'for-each-ref')).toBe(before);
  });
});

test('createBranch and stock git see what the other does to branches', async () => {
  const { store, path, ids } = await storeWithCommits();
  await git(path, 'branch', 'web', ids[0]!);
  expect((await resolveRevision(store, 'web')).id).toBe(ids[0]);
  await git(path, 'branch', '-m', 'web', 'www');
  await createBranch(store, 'web', 'www');
  await git(path, 'pack-refs', '--all');
  await createBranch(store, 'web', ids[1]!, true);
  await git(path, 'branch', '-D', 'www');
  expect((await store.refs.list(BRANCHES)).map(({ name, id }) => [name, id])).toEqual([
    ['refs/heads/web', ids[1]],
  ]);
  await deleteRef(store, BRANCHES, 'web');
  expect(await git(path, 'for-each-ref')).toBe('');
});
