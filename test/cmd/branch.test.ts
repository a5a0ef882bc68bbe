import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { oneLine, sharedWorkplace } from './imgstore.ts';
import { fillSampleStore, sampleStores } from './sample.ts';

/** For what changes nothing. */
const unchanged = sharedWorkplace(fillSampleStore);

const sample = sampleStores();

test('branch lists branches with their last versions', async () => {
  const place = await sample();
  const ids = place.git('rev-parse', 'db', 'web', 'web-test').split('\n');
  expect(await place.json('branch')).toEqual(
    ['db', 'web', 'web-test'].map((name, i) => ({ name, commit: ids[i] })),
  );
  expect(await place.ok('branch')).toBe(
    `db        ${ids[0]!.slice(0, 12)}  two disks\nweb       ${ids[1]!.slice(0, 12)}  second\nweb-test  ${ids[2]!.slice(0, 12)}  a fork\n`,
  );
});

test('branch makes, renames and removes a branch, and git agrees each time', async () => {
  const place = await sample();
  const id = place.git('rev-parse', 'web~1');
  expect(await place.json('branch', 'lab', 'web~1')).toEqual({ name: 'lab', commit: id });
  place.fsck();
  expect(await place.json('branch', '-m', 'lab', 'lab/new')).toEqual({ name: 'lab/new', commit: id });
  expect(place.git('rev-parse', 'lab/new')).toBe(id);
  expect(existsSync(place.path('.imgstore/refs/heads/lab'))).toBe(true);
  place.fsck();
  expect(await place.ok('branch', '-d', 'lab/new')).toBe(
    `removed branch 'lab/new' (was ${id.slice(0, 12)})\n`,
  );
  expect(existsSync(place.path('.imgstore/refs/heads/lab'))).toBe(false);
  expect(place.git('branch', '--list', 'lab*')).toBe('');
  place.fsck();
});

test('branch -d keeps HEAD on a branch that exists', async () => {
  const place = await sample();
  for (const name of ['db', 'web']) {
    await place.ok('branch', '-d', name);
    expect(place.git('rev-parse', '--verify', 'HEAD')).toMatch(/^[0-9a-f]{64}$/);
  }
  place.fsck();
});

test.each([
  [['web', 'db'], 1, "branch 'web' exists"],
  [['new', 'nothing'], 1, "unknown revision 'nothing'"],
  [['web/sub', 'web'], 1, "'web' is in the way"],
  [['-m', 'web', 'db'], 1, "branch 'db' exists"],
  [['-m', 'nothing', 'new'], 1, "no branch 'nothing'"],
  [['-m', 'web', 'a b'], 1, "'a b' cannot name a branch"],
  [['-m', 'web'], 2, 'old and the new name'],
  [['-d', 'nothing'], 1, "no branch 'nothing'"],
  [['-d'], 2, 'name the branch'],
  [['-d', '-m', 'web'], 2, 'takes a name only'],
  [['--', '-x', 'web'], 1, "begins with '-'"],
  [['HEAD', 'web'], 1, "is 'HEAD'"],
  [['a'.repeat(64), 'web'], 1, 'would be taken for an id'],
  [['-m', 'web', 'A'.repeat(40)], 1, 'would be taken for an id'],
  [['-f'], 2, 'name the branch'],
  [['-m'], 2, 'name the branch'],
  [['-d', '-f', 'web'], 2, 'takes a name only'],
] as const)('branch %j exits with an error and changes nothing', async (args, status, part) => {
  const before = unchanged().git('for-each-ref');
  const outcome = await unchanged().run('branch', ...args);
  expect(outcome).toMatchObject({ status, stdout: '' });
  expect(oneLine(outcome)).toContain(part);
  expect(unchanged().git('for-each-ref')).toBe(before);
});

test('branch -f moves a branch that is there', async () => {
  const place = await sample();
  await place.ok('branch', '-f', 'web-test', 'web');
  expect(place.git('rev-parse', 'web-test')).toBe(place.git('rev-parse', 'web'));
});

test('branch -m -f replaces the branch that has the new name', async () => {
  const place = await sample();
  const id = place.git('rev-parse', 'web');
  expect(await place.json('branch', '-m', '-f', 'web', 'db')).toEqual({ name: 'db', commit: id });
  expect(place.git('for-each-ref', '--format=%(refname) %(objectname)', 'refs/heads/')).toBe(
    `refs/heads/db ${id}\nrefs/heads/web-test ${place.git('rev-parse', 'web-test')}`,
  );
  place.fsck();
});
