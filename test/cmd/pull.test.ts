import { expect, test } from 'vitest';
import { oneLine } from './imgstore.ts';
import { writeDisk } from './sample.ts';
import { twoStores } from './two-stores.ts';

test('pull moves branches forward, makes new ones, and leaves those that have versions of their own', async () => {
  const place = await twoStores();
  await writeDisk(place, 'web.raw', 1, 3, 2);
  const { commit } = await place.json('--store', 'a', 'commit', 'web.raw', '-m', 'second');
  await writeDisk(place, 'db.raw', 9);
  await place.ok('--store', 'a', 'commit', 'db.raw');
  await place.ok('--store', 'a', 'push');
  expect(await place.ok('--store', 'b', 'pull')).toMatch(
    /^new {6}db {3}[0-9a-f]{12}\nforward {2}web {2}.*\n\d+ objects/,
  );
  expect(await place.ok('--store', 'b', 'pull')).toBe('nothing new\n');
  await place.ok('--store', 'b', 'checkout', 'web', '-o', 'out.raw');
  await place.ok('--store', 'a', 'compare', commit, 'out.raw');

  await writeDisk(place, 'web.raw', 7, 3, 2);
  await place.ok('--store', 'a', 'commit', 'web.raw');
  await place.ok('--store', 'a', 'push');
  await writeDisk(place, 'web.raw', 8, 3, 2);
  const ours = await place.json('--store', 'b', 'commit', 'web.raw');
  await writeDisk(place, 'db.raw', 10);
  const ahead = await place.json('--store', 'b', 'commit', 'db.raw');
  const outcome = await place.run('--store', 'b', 'pull', '--json');
  expect(outcome.status).toBe(1);
  expect(oneLine(outcome)).toMatch(/^pull: web: rejected: .*branch -f web/);
  const { branches, updates } = JSON.parse(outcome.stdout);
  expect(branches).toMatchObject([
    { ref: 'refs/heads/db', from: ahead.commit, to: ahead.commit, kind: 'unchanged' },
    { ref: 'refs/heads/web', from: ours.commit, kind: 'rejected' },
  ]);
  expect(updates).toMatchObject([
    { ref: 'refs/remotes/origin/db', kind: 'unchanged' },
    { ref: 'refs/remotes/origin/web', kind: 'forward' },
  ]);
  await place.ok('--store', 'b', 'fsck');
});

test('pull into an empty store names the image that HEAD means', async () => {
  const place = await twoStores();
  await place.ok('init', 'c');
  await place.ok('--store', 'c', 'remote', 'add', 'x', 'a');
  await place.ok('--store', 'c', 'pull', 'x', 'web');
  expect(await place.ok('--store', 'c', 'log', 'HEAD', '--oneline')).toContain('(web, x/web)');
  const missing = await place.run('--store', 'c', 'pull', 'x', 'nosuch');
  expect(missing.status).toBe(1);
  expect(oneLine(missing)).toContain('nosuch');
});
