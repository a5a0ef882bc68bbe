import { expect, test } from 'vitest';
import { oneLine, sharedWorkplace } from './imgstore.ts';
import { fillSampleStore, sampleStores } from './sample.ts';

/** For what changes nothing. */
const unchanged = sharedWorkplace(fillSampleStore);

const sample = sampleStores();

test('tag lists tags with the versions that they lead to', async () => {
  const place = await sample();
  const [first, second] = place.git('rev-parse', 'web~1', 'web').split('\n');
  expect(await place.json('tag')).toEqual([
    { name: 'v1', commit: first, message: null },
    { name: 'v2', commit: second, message: 'the second' },
  ]);
  expect(await place.ok('tag')).toBe(`v1  ${first!.slice(0, 12)}\nv2  ${second!.slice(0, 12)}  the second\n`);
});

test('tag makes light and annotated tags that git finds in order', async () => {
  const place = await sample();
  const id = place.git('rev-parse', 'web-test');
  expect(await place.json('tag', 'light', 'web-test')).toEqual({ name: 'light', commit: id });
  expect(await place.json('tag', 'heavy/one', 'web-test', '-m', 'text')).toEqual({
    name: 'heavy/one',
    commit: id,
  });
  expect(place.git('cat-file', '-t', 'light')).toBe('commit');
  expect(place.git('cat-file', '-t', 'heavy/one')).toBe('tag');
  expect(place.git('tag', '-l', '--format=%(contents)', 'heavy/one')).toContain('text');
  place.fsck();
});

test('tag moves a tag only with --force, and -d removes it', async () => {
  const place = await sample();
  const refused = await place.run('tag', 'v1', 'web');
  expect(refused.status).toBe(1);
  expect(oneLine(refused)).toMatch(/^tag 'v1' exists at [0-9a-f]{12}: pass --force to move it$/);
  await place.ok('tag', 'v1', 'web', '-f');
  const id = place.git('rev-parse', 'web');
  expect(place.git('rev-parse', 'v1')).toBe(id);
  expect(await place.json('tag', '-d', 'v1')).toEqual({ name: 'v1', deleted: id });
  const gone = await place.run('tag', '-d', 'v1');
  expect(gone.status).toBe(1);
  expect(oneLine(gone)).toBe("no tag 'v1': see 'imgstore tag'");
});

test.each([
  'a b',
  'a..b',
  '-x',
  '.a',
  'a.lock',
  'a~1',
  'a/',
  'HEAD',
  'f'.repeat(40),
  '0'.repeat(64),
  'a\\b',
  '@{1}',
  '',
])('tag refuses the name %j', async (name) => {
  const outcome = await unchanged().run('tag', '--', name, 'web');
  expect(outcome.status).toBe(1);
  expect(oneLine(outcome)).toContain(`'${name}' cannot name a tag`);
  expect(await unchanged().json('tag')).toHaveLength(2);
});

test('tag exits with 2 when options do not go together', async () => {
  for (const args of [
    ['-d'],
    ['-f'],
    ['-d', 'v1', 'web'],
    ['-d', '-f', 'v1'],
    ['-d', '-m', 'x', 'v1'],
    ['-m', 'text'],
  ]) {
    const outcome = await unchanged().run('tag', ...args);
    expect(outcome.status).toBe(2);
    oneLine(outcome);
  }
});
