import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import {
  collectGarbage,
  commitVersion,
  createBranch,
  createTag,
  forgetVersions,
  resolveCommit,
} from '../../../store/index.ts';
import { failAtEach } from '../../files/fault.ts';
import { diskOf } from '../disks.ts';
import { git, gitFsck, gitWith } from '../git.ts';
import { commitBytes, newStore, reopen, type TestStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';

function disk(n: number): Buffer {
  return diskOf([1, 2, 100 + n, 3]);
}

/** A branch `web` of versions 0 to 7; returns their ids, oldest first. */
async function storeOfEight(): Promise<TestStore & { ids: string[] }> {
  const made = await newStore();
  const ids: string[] = [];
  for (let n = 0; n < 8; n++)
    ids.push((await commitBytes(made, 'web', disk(n), { message: `version ${n}` })).commit);
  return { ...made, ids };
}

async function subjects(path: string, ref: string): Promise<string[]> {
  return (await git(path, 'log', '--format=%s', ref)).split('\n').map((line) => line.replace('version ', ''));
}

test('forgetVersions takes a version out, and all others keep their disks, dates and messages', async () => {
  const made = await storeOfEight();
  const before = await git(made.path, 'log', '--format=%s|%an|%ai|%cn|%ci|%T', 'web');
  const result = await forgetVersions(made.store, { revisions: ['web~3'] });
  expect(result).toMatchObject({ kept: 7, forgotten: [{ commit: made.ids[4], message: 'version 4' }] });
  await gitFsck(made.path);
  const lines = before.split('\n').filter((line) => !line.startsWith('version 4'));
  expect((await git(made.path, 'log', '--format=%s|%an|%ai|%cn|%ci|%T', 'web')).split('\n')).toEqual(lines);
  // What lies before is as it was.
  expect(await resolveCommit(made.store, 'web~3')).toBe(made.ids[3]);
});

test('forgetVersions frees what only forgotten versions have once gc runs, and old ids still lead to what they became', async () => {
  const made = await storeOfEight();
  await forgetVersions(made.store, { revisions: ['web~3', 'web~2', 'web~7'] });
  await collectGarbage(await reopen(made.path));
  expect(await git(made.path, 'cat-file', '-t', made.ids[4]!)).toBe('commit');
  const { removed } = await collectGarbage(await reopen(made.path), { prune: 'now' });
  expect(removed).toBeGreaterThan(3 * 4);
  await gitFsck(made.path);
  const store = await reopen(made.path);
  expect(await subjects(made.path, 'web')).toEqual(['7', '6', '3', '2', '1']);
  for (const n of [1, 2, 3, 6, 7]) {
    expect(await readBack(store, made.ids[n]!)).toEqual(disk(n));
    expect(await readBack(store, made.ids[n]!.slice(0, 12))).toEqual(disk(n));
  }
  for (const [n, next] of [
    [0, 'web~4'],
    [4, 'web~1'],
    [5, 'web~1'],
  ] as const) {
    const kept = await resolveCommit(store, next);
    await expect(resolveCommit(store, made.ids[n]!)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining(kept.slice(0, 12)),
    });
  }
});

test('forgetVersions keeps old ids leading on when it is used again and again', async () => {
  const made = await storeOfEight();
  for (const revision of ['web~6', 'web~5', 'web~2', 'web~1']) {
    await forgetVersions(await reopen(made.path), { revisions: [revision] });
    await collectGarbage(await reopen(made.path), { prune: 'now' });
  }
  const store = await reopen(made.path);
  const left = await subjects(made.path, 'web');
  expect(left).toEqual(['7', '4', '3', '0']);
  for (let n = 0; n < 8; n++) {
    if (left.includes(`${n}`)) expect(await readBack(store, made.ids[n]!)).toEqual(disk(n));
    else
      await expect(resolveCommit(store, made.ids[n]!)).rejects.toMatchObject({
        code: 'NOT_FOUND',
        message: expect.stringContaining('was forgotten'),
      });
  }
});

test('forgetVersions thins a branch by a policy, and keeps versions with tags', async () => {
  const made = await storeOfEight();
  await createTag(made.store, 'good', 'web~6');
  await createTag(made.store, 'v1', 'web~4', { message: 'Release' });
  await forgetVersions(made.store, { revisions: ['web'], policy: { last: 2 } });
  expect(await subjects(made.path, 'web')).toEqual(['7', '6', '3', '1']);
  expect(await subjects(made.path, 'good')).toEqual(['1']);
  expect(await subjects(made.path, 'v1')).toEqual(['3', '1']);
  expect(await git(made.path, 'tag', '-l', '--format=%(contents:subject)', 'v1')).toBe('Release');
  await collectGarbage(await reopen(made.path), { prune: 'now' });
  await gitFsck(made.path);
  expect(await git(made.path, 'rev-list', '--count', '--all', '--reflog')).toBe('4');
});

test('forgetVersions with patterns for tags lets other tags go with their versions', async () => {
  const made = await storeOfEight();
  await createTag(made.store, 'good', 'web~6');
  await createTag(made.store, 'v1', 'web~4', { message: 'Release' });
  const { refs } = await forgetVersions(made.store, {
    revisions: ['web'],
    policy: { last: 1, tags: ['v*'] },
  });
  expect(refs).toEqual([
    expect.objectContaining({ kind: 'tag', name: 'good', after: undefined }),
    expect.objectContaining({ kind: 'tag', name: 'v1' }),
    expect.objectContaining({ kind: 'branch', name: 'web' }),
  ]);
  expect(await git(made.path, 'tag', '-l')).toBe('v1');
  expect(await subjects(made.path, 'web')).toEqual(['7', '3']);
});

test('forgetVersions leaves what another branch has in its history when one branch is thinned', async () => {
  const made = await storeOfEight();
  await createBranch(made.store, 'ci', 'web~4');
  await commitBytes(made, 'ci', diskOf([7, 7]), { message: 'version c' });
  await forgetVersions(made.store, { revisions: ['web'], policy: { last: 1 } });
  expect(await subjects(made.path, 'web')).toEqual(['7', '3', '2', '1', '0']);
  expect(await subjects(made.path, 'ci')).toEqual(['c', '3', '2', '1', '0']);
});

test('forgetVersions thins all branches, which share what they shared', async () => {
  const made = await storeOfEight();
  await createBranch(made.store, 'ci', 'web~4');
  await commitBytes(made, 'ci', diskOf([7, 7]), { message: 'version c' });
  await forgetVersions(made.store, { revisions: [], policy: { last: 2 } });
  expect(await subjects(made.path, 'web')).toEqual(['7', '6', '3']);
  expect(await subjects(made.path, 'ci')).toEqual(['c', '3']);
  expect(await resolveCommit(made.store, 'web~2')).toBe(await resolveCommit(made.store, 'ci~1'));
});

test('forgetVersions says what it would do and does nothing in a dry run', async () => {
  const made = await storeOfEight();
  const before = await git(made.path, 'for-each-ref');
  const result = await forgetVersions(made.store, { revisions: [], policy: { last: 3 }, dryRun: true });
  expect(result.forgotten.map(({ message }) => message)).toEqual([4, 3, 2, 1, 0].map((n) => `version ${n}`));
  expect(await git(made.path, 'for-each-ref')).toBe(before);
  expect(await git(made.path, 'count-objects')).toBe(await git(made.path, 'count-objects'));
  expect((await collectGarbage(await reopen(made.path), { prune: 'now' })).removed).toBe(0);
});

test.each([
  ['web', 'last version'],
  ['web~2', "the tag 'v1'"],
])('forgetVersions refuses %s, which %s keeps', async (revision, why) => {
  const made = await storeOfEight();
  await createTag(made.store, 'v1', 'web~2');
  await expect(forgetVersions(made.store, { revisions: [revision] })).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining(why),
  });
  await expect(
    forgetVersions(made.store, { revisions: ['nobody'], policy: { last: 1 } }),
  ).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

test('forgetVersions keeps the bytes of a message in another encoding, and leaves a signature out', async () => {
  const made = await storeOfEight();
  const raw = Buffer.concat([
    Buffer.from(await git(made.path, 'cat-file', 'commit', 'web').then((text) => text.split('\n\n')[0]!)),
    Buffer.from(
      '\nencoding ISO-8859-1\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n\nGr\xfc\xdfe\n',
      'latin1',
    ),
  ]);
  const id = gitWith(made.path, { input: raw }, 'hash-object', '-t', 'commit', '-w', '--stdin');
  await git(made.path, 'update-ref', 'refs/heads/web', id);
  await forgetVersions(await reopen(made.path), { revisions: ['web~1'] });
  const text = await git(made.path, 'log', '-1', '--encoding=UTF-8', '--format=%s%n%G?', 'web');
  expect(text).toBe('Grüße\nN');
  await gitFsck(made.path);
});

test('a reflog leads to the same versions under their new ids after forgetVersions', async () => {
  const made = await storeOfEight();
  await forgetVersions(made.store, { revisions: ['web~2'] });
  const store = await reopen(made.path);
  expect(await readBack(store, 'web@{1}')).toEqual(disk(7));
  expect(await readBack(store, 'web@{2}')).toEqual(disk(6));
  expect(await readBack(store, 'web@{3}')).toEqual(disk(4));
  await collectGarbage(store, { prune: 'now' });
  await gitFsck(made.path);
});

test('a file that held a version is known to hold it after that has a new id', async () => {
  const made = await storeOfEight();
  const disks = [{ name: 'vda', path: made.file('web.raw') }];
  await new Promise((resolve) => setTimeout(resolve, 50));
  await commitVersion(made.store, { disks, branch: 'web' });
  await forgetVersions(made.store, { revisions: ['web~3'] });
  await collectGarbage(await reopen(made.path), { prune: 'now' });
  const again = await commitVersion(await reopen(made.path), { disks, branch: 'web' });
  expect(again).toMatchObject({ unchanged: true, disks: [{ readBytes: 0 }] });
  expect(again.commit).toBe(await resolveCommit(made.store, 'web'));
});

test('forgetVersions leaves a whole store when the disk fails at any point, and can be run again', async () => {
  const made = await storeOfEight();
  await createTag(made.store, 'v1', 'web~2', { message: 'Release' });
  await createBranch(made.store, 'ci', 'web~4');
  const failed = await failAtEach(
    async () => {
      await forgetVersions(await reopen(made.path), { revisions: ['web', 'ci'], policy: { last: 1 } });
    },
    async () => {
      await gitFsck(made.path);
      expect(await readBack(await reopen(made.path), 'web')).toEqual(disk(7));
      expect(await readBack(await reopen(made.path), 'v1')).toEqual(disk(5));
    },
  );
  expect(failed.length).toBeGreaterThan(10);
  expect(await subjects(made.path, 'web')).toEqual(['7', '5', '3']);
  expect(await subjects(made.path, 'ci')).toEqual(['3']);
});

test('forgetVersions takes no branch back that somebody commits to meanwhile', async () => {
  const made = await storeOfEight();
  await createBranch(made.store, 'later', 'web');
  const { commit } = await commitBytes(made, 'later', disk(8), { message: 'version 8' });
  await git(made.path, 'branch', '-D', 'later');
  let isMoved = false;
  // When the first object is about to be stored, the plan is made.
  const stop = watchPoints((point) => {
    if (point !== 'work.create' || isMoved) return;
    isMoved = true;
    writeFileSync(join(made.path, 'refs/heads/web'), `${commit}\n`);
  });
  try {
    await expect(
      forgetVersions(await reopen(made.path), { revisions: [], policy: { last: 2 } }),
    ).rejects.toMatchObject({ code: 'REF_MOVED' });
  } finally {
    stop();
  }
  expect(isMoved).toBe(true);
  expect(await git(made.path, 'rev-parse', 'web')).toBe(commit);
});

test('a reflog still leads to a version that was taken back before forgetVersions', async () => {
  const made = await storeOfEight();
  await createBranch(made.store, 'web', 'web~1', true);
  await forgetVersions(await reopen(made.path), { revisions: ['web~3'] });
  await collectGarbage(await reopen(made.path), { prune: 'now' });
  expect(await readBack(await reopen(made.path), 'web@{2}')).toEqual(disk(7));
  await gitFsck(made.path);
});

test.each([[[]], [['alias']], [['web', 'alias']]])(
  'forgetVersions of %j moves a branch once that has another name too',
  async (revisions) => {
    const made = await storeOfEight();
    await git(made.path, 'symbolic-ref', 'refs/heads/alias', 'refs/heads/web');
    const { refs } = await forgetVersions(await reopen(made.path), { revisions, policy: { last: 2 } });
    expect(refs.map(({ name }) => name)).toEqual(['web']);
    expect(await subjects(made.path, 'alias')).toEqual(['7', '6']);
    expect(await git(made.path, 'symbolic-ref', 'refs/heads/alias')).toBe('refs/heads/web');
    expect(await readBack(await reopen(made.path), 'web@{2}')).toEqual(disk(6));
    await gitFsck(made.path);
  },
);

test('forgetVersions refuses a version that only a log leads to', async () => {
  const made = await storeOfEight();
  await createBranch(made.store, 'web', 'web~1', true);
  await expect(forgetVersions(await reopen(made.path), { revisions: ['web@{1}'] })).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining('in the history of no branch'),
  });
});
