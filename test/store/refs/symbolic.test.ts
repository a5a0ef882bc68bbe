import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { NULL_ID } from '../../../objects/index.ts';
import {
  BRANCHES,
  createBranch,
  deleteRef,
  listImages,
  renameBranch,
  resolveRevision,
} from '../../../store/index.ts';
import { diskOf } from '../disks.ts';
import { git, gitFsck, tryGit } from '../git.ts';
import { commitBytes, newStore } from '../new-store.ts';
import { fileText, isThere, move, storeWithCommits } from './some-refs.ts';

const NOW = 'refs/heads/now';
const WEB = 'refs/heads/web';

/** A branch `web` and a symbolic one `now` that leads to it. */
async function symbolicStore() {
  const made = await storeWithCommits();
  await move(made.refs, WEB, NULL_ID, made.ids[0]!, 'first');
  await git(made.path, 'symbolic-ref', NOW, WEB);
  return made;
}

test('commitVersion on a symbolic branch moves the branch that it leads to', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1]));
  await git(made.path, 'symbolic-ref', NOW, WEB);
  const { commit } = await commitBytes(made, 'now', diskOf([2]));
  expect(await git(made.path, 'rev-parse', 'web')).toBe(commit);
  expect(await git(made.path, 'symbolic-ref', NOW)).toBe(WEB);
  expect((await listImages(made.store)).map(({ name, versions }) => [name, versions])).toEqual([
    ['now', 2],
    ['web', 2],
  ]);
  await gitFsck(made.path);
});

test('Refs.update follows a symbolic ref and logs the move at both, as git does', async () => {
  const { refs, path, ids } = await symbolicStore();
  await move(refs, NOW, ids[0], ids[1]!, 'ours');
  await git(path, 'update-ref', '-m', 'of git', NOW, ids[2]!, ids[1]!);
  expect(fileText(path, NOW)).toBe(`ref: ${WEB}\n`);
  expect(await refs.resolve(WEB)).toBe(ids[2]);
  expect(await git(path, 'reflog', 'show', '--format=%gs', 'web')).toBe('of git\nours\nfirst');
  expect(await git(path, 'reflog', 'show', '--format=%gs', NOW)).toBe('of git\nours');
});

test('Refs.update of a symbolic ref throws REF_MOVED when what it leads to is elsewhere', async () => {
  const { refs, ids } = await symbolicStore();
  await expect(move(refs, NOW, ids[1], ids[2]!)).rejects.toMatchObject({ code: 'REF_MOVED' });
  expect(await refs.resolve(WEB)).toBe(ids[0]);
});

test('Refs.update of a symbolic ref makes the ref that it leads to', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await git(path, 'symbolic-ref', NOW, 'refs/heads/new/one');
  await move(refs, NOW, NULL_ID, ids[0]!);
  expect(await git(path, 'rev-parse', 'refs/heads/new/one')).toBe(ids[0]);
});

test('Refs.update throws DAMAGED for symbolic refs in a circle, and replaces them when asked for wherever', async () => {
  const { refs, path, ids } = await storeWithCommits();
  await git(path, 'symbolic-ref', 'refs/heads/a', 'refs/heads/b');
  await git(path, 'symbolic-ref', 'refs/heads/b', 'refs/heads/a');
  await expect(move(refs, 'refs/heads/a', NULL_ID, ids[0]!)).rejects.toMatchObject({
    code: 'DAMAGED',
    message: expect.stringContaining('lead to each other'),
  });
  await move(refs, 'refs/heads/a', undefined, ids[0]!);
  expect(await git(path, 'rev-parse', 'a', 'b')).toBe(`${ids[0]}\n${ids[0]}`);
});

test('Refs.resolve follows no more symbolic refs than git does', async () => {
  const { refs, path, ids } = await storeWithCommits(1);
  await git(path, 'update-ref', 'refs/heads/s0', ids[0]!);
  for (let i = 1; i <= 6; i++) writeFileSync(join(path, `refs/heads/s${i}`), `ref: refs/heads/s${i - 1}\n`);
  for (let i = 1; i <= 6; i++) {
    const ours = await refs.resolve(`refs/heads/s${i}`).catch(() => undefined);
    expect(ours, `s${i}`).toBe(tryGit(path, 'rev-parse', '--verify', '-q', `refs/heads/s${i}`));
  }
});

test('Refs.resolve reads nothing outside of refs/ for a symbolic ref', async () => {
  const { refs, path, file } = await storeWithCommits(1);
  writeFileSync(file('secret'), 'the secret');
  for (const target of ['../secret', 'refs/../../secret', 'config', 'refs/heads/a b', '']) {
    writeFileSync(join(path, NOW), `ref: ${target}\n`);
    const error: unknown = await refs.resolve(NOW).catch((caught: unknown) => caught);
    expect(error, target).toMatchObject({ code: 'DAMAGED', message: expect.stringContaining('is no ref') });
    expect(String(error)).not.toContain('the secret');
  }
});

test('deleteRef removes a symbolic branch and leaves what it leads to', async () => {
  const { store, path, ids } = await symbolicStore();
  expect(await deleteRef(store, BRANCHES, 'now')).toBe(ids[0]);
  expect(isThere(path, NOW)).toBe(false);
  expect(await git(path, 'rev-parse', 'web')).toBe(ids[0]);
  await git(path, 'symbolic-ref', NOW, 'refs/heads/none');
  expect(await deleteRef(store, BRANCHES, 'now')).toBeUndefined();
  expect(isThere(path, NOW)).toBe(false);
});

test('createBranch by force moves what a symbolic branch leads to', async () => {
  const { store, path, ids } = await symbolicStore();
  await createBranch(store, 'now', ids[2]!, true);
  expect(await git(path, 'symbolic-ref', NOW)).toBe(WEB);
  expect(await git(path, 'rev-parse', 'web')).toBe(ids[2]);
});

test('renameBranch refuses a symbolic branch, as git does', async () => {
  const { store, path } = await symbolicStore();
  await expect(renameBranch(store, 'now', 'x')).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  expect(await git(path, 'symbolic-ref', NOW)).toBe(WEB);
});

test('renameBranch by force puts a branch in the place of a symbolic one', async () => {
  const { store, refs, path, ids } = await symbolicStore();
  await move(refs, 'refs/heads/db', NULL_ID, ids[3]!);
  await renameBranch(store, 'db', 'now', true);
  expect(fileText(path, NOW)).toBe(`${ids[3]}\n`);
  expect(await git(path, 'rev-parse', 'web')).toBe(ids[0]);
});

test('resolveRevision finds @{n} of a symbolic branch in its own log, else in that of what it leads to', async () => {
  const { store, refs, path, ids } = await symbolicStore();
  await move(refs, WEB, ids[0], ids[1]!);
  expect((await resolveRevision(store, 'now@{1}')).id).toBe(await git(path, 'rev-parse', 'now@{1}'));
  await move(refs, NOW, ids[1], ids[2]!);
  await move(refs, NOW, ids[2], ids[3]!);
  expect((await resolveRevision(store, 'now@{1}')).id).toBe(await git(path, 'rev-parse', 'now@{1}'));
});

test('commitVersion stores the version and tells why when HEAD cannot be moved', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1]));
  await git(made.path, 'update-ref', 'refs/heads/x', 'web');
  const { rmSync } = await import('node:fs');
  rmSync(join(made.path, 'HEAD'));
  mkdirSync(join(made.path, 'HEAD'));
  const notices: string[] = [];
  const { commitVersion } = await import('../../../store/index.ts');
  writeFileSync(made.file('db.raw'), diskOf([2]));
  const request = { disks: [{ name: 'vda', path: made.file('db.raw') }] };
  const { commit } = await commitVersion(made.store, request, { onNotice: (text) => notices.push(text) });
  expect(await made.store.refs.resolve('refs/heads/db')).toBe(commit);
  expect(notices).toEqual([expect.stringMatching(/^HEAD was not moved: .*HEAD/)]);
});

test.each(['garbage\n', '', 'ref: ../../config\n', 'ref: refs/heads/gone\n', `${'0'.repeat(63)}\n`])(
  'commitVersion and the verbs for branches mend a HEAD that holds %j',
  async (text) => {
    const made = await newStore();
    await commitBytes(made, 'web', diskOf([1]));
    const spoil = () => writeFileSync(join(made.path, 'HEAD'), text);
    spoil();
    await commitBytes(made, 'db', diskOf([2]));
    expect(await git(made.path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/db');
    spoil();
    await createBranch(made.store, 'lab', 'web');
    expect(await git(made.path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/lab');
    spoil();
    await renameBranch(made.store, 'lab', 'test');
    await deleteRef(made.store, BRANCHES, 'test');
    expect((await made.store.refs.list()).map(({ name }) => name)).toEqual(['refs/heads/db', WEB]);
  },
);
