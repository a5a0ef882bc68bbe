import { expect, test } from 'vitest';
import { oneLine } from './imgstore.ts';
import { sampleStores, writeDisk } from './sample.ts';

const sample = sampleStores();

/** A sample store with five versions of `web`. */
async function storeOfFive() {
  const place = await sample();
  for (const seed of [11, 12, 13]) {
    await writeDisk(place, 'web.raw', 1, seed);
    await place.ok('commit', 'web.raw', '-m', `edit ${seed}`);
  }
  return place;
}

test('forget --json tells which versions went and which refs moved', async () => {
  const place = await storeOfFive();
  const [tip, forgotten] = [place.git('rev-parse', 'web'), place.git('rev-parse', 'web~1')];
  const result = await place.json('forget', 'web~1');
  expect(result).toEqual({
    forgotten: [{ commit: forgotten, date: expect.stringMatching(/^\d{4}-/), message: 'edit 12' }],
    kept: expect.any(Number),
    remotes: [],
    dryRun: false,
    refs: [
      { name: 'web', kind: 'branch', before: tip, after: place.git('rev-parse', 'web'), removed: false },
    ],
  });
  place.fsck();
  await place.ok('gc', '--prune=now');
  place.fsck();
  expect((await place.json('show', tip.slice(0, 10))).commit).toBe(result.refs[0].after);
  const outcome = await place.run('show', forgotten);
  expect(outcome.status).toBe(1);
  expect(oneLine(outcome)).toMatch(/was forgotten: the next that was kept is [0-9a-f]{12}/);
});

test('forget --dry-run lists what it would forget and changes nothing', async () => {
  const place = await storeOfFive();
  const before = place.git('for-each-ref');
  const stdout = await place.ok('forget', 'web', '--keep-last', '1', '--dry-run');
  expect(stdout).toMatch(/edit 12\n.*edit 11\n/);
  expect(stdout).toMatch(/would forget 2 versions, 3 are kept\n$/);
  expect(place.git('for-each-ref')).toBe(before);
});

test('forget says of every tag whether it goes or follows, in a dry run too', async () => {
  const place = await storeOfFive();
  await place.ok('tag', 'old', 'web~1');
  await place.ok('tag', 'keep', 'web~2');
  const old = place.git('rev-parse', 'old').slice(0, 12);
  const args = ['forget', 'web', '--keep-last', '1', '--keep-tag', 'keep'];
  const planned = await place.ok(...args, '--dry-run');
  expect(planned).toContain(`tag 'old' would be removed (now ${old})\n`);
  expect(planned).toMatch(/^branch 'web' would get a new id \(now [0-9a-f]{12}\)$/m);
  expect(await place.ok(...args)).toContain(`tag 'old' is removed (was ${old})\n`);
  expect(place.git('tag', '-l')).not.toContain('old');
});

test('forget with a policy keeps versions with tags and what forks have', async () => {
  const place = await storeOfFive();
  await place.ok('forget', '--keep-last', '1');
  expect(place.git('log', '--format=%s', 'web')).toBe('edit 13\nsecond\nfirst');
  expect(place.git('log', '--format=%s', 'web-test')).toBe('a fork\nfirst');
  expect(await place.ok('forget', '--keep-last', '1')).toMatch(
    /^nothing to forget: \d+ versions are kept\n$/,
  );
});

test.each([
  [[], /name versions, or say what to keep/, 2],
  [['web'], /last version of branch 'web'/, 2],
  [['web~9'], /goes back too far/, 1],
  [['nobody', '--keep-last', '1'], /no branch 'nobody'/, 1],
  [['--keep-last', '-1'], /not a number|unknown option/, 2],
])('forget %j is refused with a line that says why', async (args, why, code) => {
  const place = await storeOfFive();
  const outcome = await place.run('forget', ...args);
  expect(outcome.status).toBe(code);
  expect(oneLine(outcome)).toMatch(why);
});
