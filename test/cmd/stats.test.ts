import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { oneLine, sharedWorkplace } from './imgstore.ts';
import { CLUSTER, fillSampleStore } from './sample.ts';

const place = sharedWorkplace(fillSampleStore);

test('stats --json counts data, what is different in it, and what is stored', async () => {
  const stats = await place().json('stats');
  // Versions hold 2 + 2 + 2 + (2 + 1) clusters; different ones are 1 2 3 4 5.
  expect(stats).toMatchObject({ logicalBytes: 9 * CLUSTER, uniqueBytes: 5 * CLUSTER, packs: 0 });
  const count = (type: string) =>
    place()
      .git('cat-file', '--batch-all-objects', '--batch-check=%(objecttype)')
      .split('\n')
      .filter((each) => each === type).length;
  expect(stats.objects).toEqual({ blob: count('blob'), tree: count('tree'), commit: 4, tag: 1 });
  expect(stats.loose).toBe(Object.values(stats.objects as Record<string, number>).reduce((a, b) => a + b));
  const files = execFileSync('find', [place().path('.imgstore/objects'), '-type', 'f', '-printf', '%s\n'], {
    encoding: 'utf8',
  });
  expect(stats.storedBytes).toBe(
    files
      .trim()
      .split('\n')
      .reduce((sum, size) => sum + Number(size), 0),
  );
  expect(stats.images).toMatchObject([
    { name: 'db', versions: 1, logicalBytes: 3 * CLUSTER, uniqueBytes: 3 * CLUSTER },
    { name: 'web', versions: 2, logicalBytes: 4 * CLUSTER, uniqueBytes: 3 * CLUSTER },
    { name: 'web-test', versions: 2 },
  ]);
});

test('stats counts the revisions that are named', async () => {
  expect(await place().json('stats', 'v1')).toMatchObject({
    logicalBytes: 2 * CLUSTER,
    images: [{ name: 'v1', versions: 1 }],
  });
  expect(await place().json('stats', 'web', 'db')).toMatchObject({
    images: [{ name: 'web' }, { name: 'db' }],
  });
  const unknown = await place().run('stats', 'nothing');
  expect(unknown.status).toBe(1);
  oneLine(unknown);
});

test('stats prints a table and sums', async () => {
  const stdout = await place().ok('stats');
  expect(stdout).toMatch(
    /^IMAGE +VERSIONS +DATA +UNIQUE +RATIO +BY DEDUP +BY DELTAS +BY DEFLATE\ndb +1 +192 KiB +192 KiB +100\.0% +0 bytes +0 bytes +-96 bytes\n/,
  );
  expect(stdout).toMatch(/^data in all versions {2}576 KiB$/m);
  expect(stdout).toMatch(/^in different clusters 320 KiB \(55\.6%\)$/m);
});
