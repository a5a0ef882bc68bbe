import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { NULL_ID } from '../../../objects/index.ts';
import { Refs } from '../../../store/refs/refs.ts';
import { renameRef } from '../../../store/refs/rename.ts';
import { git, gitFsck } from '../git.ts';
import { listFiles } from '../new-store.ts';
import { fileText, isThere, move, storeWithCommits } from './some-refs.ts';

const WEB = 'refs/heads/web';

test('Refs.update makes a ref that git reads, with its log', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, WEB, NULL_ID, ids[0]!, 'first');
  await move(refs, WEB, ids[0], ids[1]!, 'second');
  expect(await refs.resolve(WEB)).toBe(ids[1]);
  expect(await git(path, 'rev-parse', 'web')).toBe(ids[1]);
  expect(await git(path, 'reflog', 'show', '--format=%H %gs %gn %ge', 'web')).toBe(
    `${ids[1]} second R. Mover mover@example.org\n${ids[0]} first R. Mover mover@example.org`,
  );
  expect(await git(path, 'log', '-g', '--format=%gd', '--date=raw', '-1', 'web')).toBe(
    'web@{1700000000 +0100}',
  );
  await gitFsck(path);
});

test('Refs.update throws REF_MOVED and changes nothing when the ref is elsewhere', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, WEB, NULL_ID, ids[0]!);
  const files = listFiles(path);
  const log = fileText(path, `logs/${WEB}`);
  const moved = { code: 'REF_MOVED' };
  await expect(move(refs, WEB, NULL_ID, ids[1]!)).rejects.toMatchObject(moved);
  await expect(move(refs, WEB, ids[2], ids[1]!)).rejects.toMatchObject(moved);
  await expect(move(refs, WEB, ids[2], NULL_ID)).rejects.toMatchObject(moved);
  await expect(move(refs, 'refs/heads/gone', ids[0], ids[1]!)).rejects.toMatchObject(moved);
  expect(await refs.resolve(WEB)).toBe(ids[0]);
  expect(listFiles(path)).toEqual(files);
  expect(fileText(path, `logs/${WEB}`)).toBe(log);
});

test('Refs.update moves a ref from wherever it is when nothing is expected', async () => {
  const { refs, ids } = await storeWithCommits();
  await move(refs, WEB, undefined, ids[0]!);
  await move(refs, WEB, undefined, ids[1]!);
  expect((await refs.logs.read(WEB)).map(({ before, after }) => [before, after])).toEqual([
    [NULL_ID, ids[0]],
    [ids[0], ids[1]],
  ]);
});

test('Refs.update lets one of many win when all move the same ref at once', async () => {
  const { refs, path, ids } = await storeWithCommits(13);
  await move(refs, WEB, NULL_ID, ids[0]!);
  const results = await Promise.allSettled(ids.slice(1).map((id) => move(new Refs(path), WEB, ids[0], id)));
  const won = results.flatMap((result, i) => (result.status === 'fulfilled' ? [ids[i + 1]] : []));
  expect(won).toEqual([await refs.resolve(WEB)]);
  for (const result of results)
    if (result.status === 'rejected') expect(['REF_MOVED', 'BUSY']).toContain(result.reason.code);
  expect(await refs.logs.read(WEB)).toHaveLength(2);
  expect(listFiles(path).filter((name) => name.endsWith('.lock'))).toEqual([]);
});

test('Refs.update and git update-ref keep each other out of one ref', async () => {
  const { path, ids } = await storeWithCommits(9);
  await git(path, 'update-ref', WEB, ids[0]!);
  const moves = ids
    .slice(1)
    .map((id, i) =>
      i % 2 === 0 ? move(new Refs(path), WEB, ids[0], id) : git(path, 'update-ref', WEB, id, ids[0]!),
    );
  const results = await Promise.allSettled(moves);
  expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
});

test('Refs.update throws BUSY naming the lock that somebody left behind', async () => {
  const { refs, path, ids } = await storeWithCommits();
  const lock = join(path, `${WEB}.lock`);
  writeFileSync(lock, '');
  await expect(move(refs, WEB, NULL_ID, ids[0]!)).rejects.toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining(lock),
  });
  expect(isThere(path, `${WEB}.lock`)).toBe(true);
  expect(await refs.resolve(WEB)).toBeUndefined();
});

test.each(['refs/heads/', 'refs/heads/a..b', 'refs/heads/a.lock', 'refs/heads/../../config'])(
  'Refs.update throws BAD_NAME for %s',
  async (name) => {
    const { refs, ids } = await storeWithCommits(1);
    await expect(move(refs, name, NULL_ID, ids[0]!)).rejects.toMatchObject({ code: 'BAD_NAME' });
  },
);

test.each([
  ['a', 'a/b', false],
  ['a/b', 'a', false],
  ['a/b/c', 'a', false],
  ['a', 'a/b/c', true],
  ['a/b', 'a', true],
])('Refs.update throws EXISTS for %2$s beside %1$s, packed or not (%3$s)', async (there, made, packed) => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, `refs/heads/${there}`, NULL_ID, ids[0]!);
  if (packed) await git(path, 'pack-refs', '--all');
  await expect(move(refs, `refs/heads/${made}`, NULL_ID, ids[0]!)).rejects.toMatchObject({ code: 'EXISTS' });
  expect((await refs.list()).map(({ name }) => name)).toEqual([`refs/heads/${there}`]);
});

test('Refs.update takes a name whose folder an earlier ref or a failure has left behind', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await expect(move(refs, 'refs/heads/a/b', ids[0], ids[1]!)).rejects.toMatchObject({ code: 'REF_MOVED' });
  await move(refs, 'refs/heads/a', NULL_ID, ids[0]!);
  mkdirSync(join(path, 'refs/heads/c/d'), { recursive: true });
  mkdirSync(join(path, 'logs/refs/heads/c/d'), { recursive: true });
  await move(refs, 'refs/heads/c', NULL_ID, ids[0]!);
  expect(await git(path, 'for-each-ref', '--format=%(refname:short)')).toBe('a\nc');
});

test('Refs.update removes a ref with its log and the folders that it was alone in', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, 'refs/heads/a/b/c', NULL_ID, ids[0]!);
  await move(refs, 'refs/heads/a/b/c', ids[0], NULL_ID);
  expect(await refs.resolve('refs/heads/a/b/c')).toBeUndefined();
  expect(isThere(path, 'refs/heads/a') || isThere(path, 'logs/refs/heads/a')).toBe(false);
  await move(refs, 'refs/heads/a', NULL_ID, ids[1]!);
  expect(await git(path, 'rev-parse', 'a')).toBe(ids[1]);
});

test('Refs.update removes a ref from packed-refs and leaves the others as git wrote them', async () => {
  const { refs, path, ids } = await storeWithCommits();
  for (const name of ['a', 'b/c', 'd']) await move(refs, `refs/heads/${name}`, NULL_ID, ids[0]!);
  await git(path, 'tag', '-a', '-m', 'one', 'v1', ids[1]!);
  await git(path, 'pack-refs', '--all');
  const before = fileText(path, 'packed-refs').split('\n');
  await move(refs, 'refs/heads/b/c', ids[0], NULL_ID);
  expect(fileText(path, 'packed-refs').split('\n')).toEqual(before.filter((line) => !line.endsWith('/b/c')));
  expect(await git(path, 'for-each-ref', '--format=%(refname)')).toBe(
    'refs/heads/a\nrefs/heads/d\nrefs/tags/v1',
  );
  await gitFsck(path);
});

test('Refs.update removes a ref that is both packed and a file of its own', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, WEB, NULL_ID, ids[0]!);
  await git(path, 'pack-refs', '--all', '--no-prune');
  await move(refs, WEB, ids[0], ids[1]!);
  expect(await refs.resolve(WEB)).toBe(ids[1]);
  await move(refs, WEB, ids[1], NULL_ID);
  expect(await refs.list()).toEqual([]);
  expect(await git(path, 'for-each-ref')).toBe('');
});

test('Refs.list gives loose and packed refs by name, the loose one where both are', async () => {
  const { refs, path, ids } = await storeWithCommits();
  for (const name of ['refs/heads/b', 'refs/heads/a/x', 'refs/tags/t'])
    await move(refs, name, NULL_ID, ids[0]!);
  await git(path, 'pack-refs', '--all');
  await move(refs, 'refs/heads/b', ids[0], ids[1]!);
  await move(refs, 'refs/heads/c', NULL_ID, ids[2]!);
  const text = (await refs.list()).map(({ name, id }) => `${name} ${id}`).join('\n');
  expect(text).toBe(await git(path, 'for-each-ref', '--format=%(refname) %(objectname)'));
  expect((await refs.list('refs/tags/')).map(({ name }) => name)).toEqual(['refs/tags/t']);
  expect(await refs.list('refs/remotes/')).toEqual([]);
});

test('Refs.list misses no ref while git packs them over and over', async () => {
  const { refs, path, ids } = await storeWithCommits(2);
  const names = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => `refs/heads/${name}`);
  for (const name of names) await move(refs, name, NULL_ID, ids[0]!);
  let packing = true;
  const packer = (async () => {
    for (let i = 0; i < 12; i++) {
      for (const name of names) await git(path, 'update-ref', name, ids[(i + 1) % 2]!);
      await git(path, 'pack-refs', '--all');
    }
    packing = false;
  })();
  while (packing) expect((await refs.list()).map(({ name }) => name)).toEqual(names);
  await packer;
});

test('Refs.list passes over locks and other files that no ref can be', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, WEB, NULL_ID, ids[0]!);
  writeFileSync(join(path, `${WEB}.lock`), '');
  writeFileSync(join(path, 'refs/heads/.DS_Store'), 'x');
  expect((await refs.list()).map(({ name }) => name)).toEqual([WEB]);
});

test.each([
  ['no id', 'nonsense\n'],
  ['half an id', `${'a'.repeat(63)}\n`],
  ['an id of SHA-1', `${'a'.repeat(40)}\n`],
  ['nothing', ''],
  ['zeros that a power failure left', '\0'.repeat(65)],
])('Refs.resolve throws DAMAGED naming the file of a ref that holds %s', async (_, text) => {
  const { refs, path } = await storeWithCommits(1);
  writeFileSync(join(path, WEB), text);
  await expect(refs.resolve(WEB)).rejects.toMatchObject({
    code: 'DAMAGED',
    message: expect.stringContaining(join(path, WEB)),
  });
});

test('Refs.resolve throws DAMAGED naming the line of packed-refs that is none', async () => {
  const { refs, path, ids } = await storeWithCommits(1);
  writeFileSync(join(path, 'packed-refs'), `# pack-refs with: peeled\n${ids[0]} ${WEB}\nnonsense\n`);
  await expect(refs.resolve(WEB)).rejects.toMatchObject({
    code: 'DAMAGED',
    message: expect.stringMatching(/packed-refs:3: /),
  });
});

test('Refs.resolve throws DAMAGED for symbolic refs that lead to each other', async () => {
  const { refs, path } = await storeWithCommits(1);
  writeFileSync(join(path, 'refs/heads/a'), 'ref: refs/heads/b\n');
  writeFileSync(join(path, 'refs/heads/b'), 'ref: refs/heads/a\n');
  await expect(refs.resolve('refs/heads/a')).rejects.toMatchObject({ code: 'DAMAGED' });
});

test('Refs.resolve follows as many symbolic refs as git does', async () => {
  const { refs, path, ids } = await storeWithCommits(1);
  await git(path, 'update-ref', 'refs/heads/s0', ids[0]!);
  for (let i = 1; i <= 5; i++) await git(path, 'symbolic-ref', `refs/heads/s${i}`, `refs/heads/s${i - 1}`);
  expect(await refs.resolve('refs/heads/s4')).toBe(await git(path, 'rev-parse', 'refs/heads/s4'));
  expect(await refs.resolve('refs/heads/none')).toBeUndefined();
});

test('Refs.setSymbolic points HEAD where git and we find it, whatever letters the name has', async () => {
  const { refs, path, ids } = await storeWithCommits(1);
  await move(refs, 'refs/heads/bücher-日本', NULL_ID, ids[0]!);
  await refs.setSymbolic('HEAD', 'refs/heads/bücher-日本');
  expect(await git(path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/bücher-日本');
  expect(await refs.symbolicTarget('HEAD')).toBe('refs/heads/bücher-日本');
  expect(await refs.resolve('HEAD')).toBe(ids[0]);
});

test('renameRef moves a ref with its log, and leaves the log of a ref in the way alone', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await move(refs, WEB, NULL_ID, ids[0]!, 'one');
  await move(refs, WEB, ids[0], ids[1]!, 'two');
  await move(refs, 'refs/heads/other', NULL_ID, ids[2]!, 'mine');
  const change = { from: WEB, id: ids[1]!, person: PERSON_OF_LOG, message: 'renamed' };
  await expect(renameRef(refs, { ...change, to: 'refs/heads/other' })).rejects.toMatchObject({
    code: 'REF_MOVED',
  });
  expect((await refs.logs.read('refs/heads/other')).map(({ message }) => message)).toEqual(['mine']);
  await renameRef(refs, { ...change, to: 'refs/heads/new' });
  expect((await refs.logs.read('refs/heads/new')).map(({ message }) => message)).toEqual([
    'one',
    'two',
    'renamed',
  ]);
  expect(await refs.logs.read(WEB)).toEqual([]);
  expect(await git(path, 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/new\nrefs/heads/other');
});

const PERSON_OF_LOG = { name: 'P', email: 'p@x', seconds: 1, zoneMinutes: 0 };
