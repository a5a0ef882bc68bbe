import { expect, test } from 'vitest';
import { oneLine, sharedWorkplace, Workplace } from './imgstore.ts';
import { CLUSTER, fillSampleStore, writeDisk } from './sample.ts';
import { ID, PERSON } from './shapes.ts';

const place = sharedWorkplace(fillSampleStore);

test('log --json lists versions with all that scripts need', async () => {
  const log = await place().json('log', 'web');
  expect(log).toMatchObject([
    {
      commit: place().git('rev-parse', 'web'),
      parents: [place().git('rev-parse', 'web~1')],
      author: { name: 'An Author', email: 'author@example.org', date: PERSON.date },
      message: 'second',
      branch: 'web',
      disks: [{ name: 'vda', virtualSize: 3 * CLUSTER }],
    },
    { commit: ID, parents: [], message: 'first\n\nwith a body', branch: 'web' },
  ]);
});

test('log lists the versions of all branches when none is named', async () => {
  const log = (await place().json('log')) as { commit: string; branch: string }[];
  expect(log.map(({ commit }) => commit).sort()).toEqual(
    place().git('rev-list', '--branches').split('\n').sort(),
  );
  expect(new Set(log.map(({ branch }) => branch)).size).toBeGreaterThan(1);
});

test('log --all lists versions that only a tag leads to', async () => {
  const own = await Workplace.withStore();
  await writeDisk(own, 'web.raw', 1);
  await own.ok('commit', 'web.raw');
  await own.ok('tag', 'kept', 'web', '-m', 'kept');
  await own.ok('branch', '-d', 'web');
  expect(await own.json('log')).toEqual([]);
  expect(await own.json('log', '--all')).toMatchObject([{ branch: null, refs: ['kept'] }]);
});

test('log prints as git does: commit, author, date, message indented', async () => {
  const stdout = await place().ok('log', 'web~1');
  const id = place().git('rev-parse', 'web~1');
  expect(stdout).toMatch(
    new RegExp(
      `^commit ${id} \\(v1\\)\nAuthor: An Author <author@example.org>\nDate: {3}[^\n]+\nDisks: {2}vda 192 KiB\n\n {4}first\n\n {4}with a body\n$`,
    ),
  );
});

test('log --oneline prints a line for each version with its refs', async () => {
  const lines = (await place().ok('log', 'web', '--oneline')).split('\n');
  const short = (revision: string) => place().git('rev-parse', revision).slice(0, 12);
  expect(lines).toEqual([`${short('web')} (web, v2) second`, `${short('web~1')} (v1) first`, '']);
});

test('log -n prints the newest versions only', async () => {
  expect(await place().json('log', 'web', '-n', '1')).toMatchObject([{ message: 'second' }]);
  expect(await place().json('log', 'web', '-n1')).toHaveLength(1);
  expect(await place().json('log', 'web', '--max-count', '0')).toEqual([]);
  expect(await place().ok('log', 'web', '-n', '0')).toBe('');
});

test('log takes every kind of revision', async () => {
  const first = place().git('rev-parse', 'web~1');
  for (const revision of [
    'v1',
    'web~1',
    'web^',
    'web~',
    first,
    first.slice(0, 8),
    'v2^{}~1',
    'web@{1}',
    'refs/tags/v1',
  ])
    expect(await place().json('log', revision)).toMatchObject([{ commit: first }]);
});

test('log --graph draws a fork and a merge, newest first', async () => {
  const own = await Workplace.withStore();
  let seconds = 1_700_000_000;
  const commit = async (seed: number, ...args: readonly string[]) => {
    seconds += 60;
    await writeDisk(own, 'x.raw', seed);
    const env = { GIT_AUTHOR_DATE: `${seconds} +0000`, GIT_COMMITTER_DATE: `${seconds} +0000` };
    const { status } = await own.start(['commit', 'x.raw', '-m', `${seed}`, ...args], { env }).finished;
    expect(status).toBe(0);
  };
  await commit(1, '-b', 'web');
  await commit(2, '-b', 'web');
  await commit(3, '-b', 'lab', '--parent', 'web~1');
  await commit(4, '-b', 'web');
  own.git(
    'update-ref',
    'refs/heads/web',
    own.git('commit-tree', 'web^{tree}', '-p', 'web', '-p', 'lab', '-m', 'merge'),
  );
  await commit(5, '-b', 'other', '--parent', 'web~2');

  const rows = (await own.ok('log', '--graph', '--oneline'))
    .replace(/[0-9a-f]{12} (\([^)]*\) )?/g, '')
    .split('\n');
  expect(rows).toEqual([
    '* merge',
    '|\\',
    '| | * 5',
    '* | | 4',
    '| * | 3',
    '| |/',
    '|/|',
    '* | 2',
    '|/',
    '* 1',
    '',
  ]);
  expect(await own.ok('log', '--graph', '-n', '1', 'web')).toMatch(
    /^\* commit [0-9a-f]{64} \(web\)\n\|\\\n\| \| Author: /,
  );
  expect(await own.json('log', '--graph')).toHaveLength(6);
});

test('log exits with 1 when the revision is unknown or goes back too far', async () => {
  for (const revision of ['nothing', 'web~9', 'web^2', 'web@{9}', '0000', 'v1^{tree}']) {
    const outcome = await place().run('log', revision);
    expect(outcome).toMatchObject({ status: 1, stdout: '' });
    expect(oneLine(outcome)).toContain(revision);
  }
});

test('log and images say that a new store is empty', async () => {
  const own = await Workplace.withStore();
  expect(await own.run('log')).toMatchObject({ status: 0, stdout: '' });
  expect(await own.json('log')).toEqual([]);
  expect(await own.ok('images')).toBe("no image yet: run 'imgstore commit IMAGE'\n");
  const head = await own.run('show', 'HEAD');
  expect(head.status).toBe(1);
  expect(oneLine(head)).toContain("run 'imgstore commit IMAGE'");
});
