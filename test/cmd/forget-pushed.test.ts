import { expect, test } from 'vitest';
import { oneLine } from './imgstore.ts';
import { writeDisk } from './sample.ts';
import { twoStores } from './two-stores.ts';

test('forget keeps what a remote has, says so, and --pushed forgets it so that push and gc free it', async () => {
  const place = await twoStores();
  const store = ['--store', 'a'];
  for (const seed of [3, 4, 5]) {
    await writeDisk(place, 'web.raw', 1, seed, 2);
    await place.ok(...store, 'commit', 'web.raw', '-m', `version ${seed}`);
  }
  await place.ok(...store, 'push');
  const refused = await place.run(...store, 'forget', 'web~1');
  expect(refused.status).toBe(2);
  expect(oneLine(refused)).toMatch(/'origin\/web' has it in its history, which --pushed/);
  const kept = await place.ok(...store, 'forget', 'web', '--keep-last', '2');
  expect(kept).toBe(
    'nothing to forget: 4 versions are kept\nwhat origin/web lead to is kept: --pushed forgets it too\n',
  );

  const forgot = await place.ok(...store, 'forget', 'web', '--keep-last', '2', '--pushed');
  expect(forgot).toContain('forgot 2 versions, 2 are kept\n');
  expect(forgot).toContain(
    "origin/web still lead to them, so gc keeps them: run 'imgstore push --force-with-lease' first\n",
  );
  expect((await place.run(...store, 'push')).status).toBe(1);
  await place.ok(...store, 'gc', '--prune=now');
  expect(await place.json(...store, 'log', 'origin/web')).toHaveLength(4);
  await place.ok(...store, 'push', '--force-with-lease');
  expect((await place.json(...store, 'forget', 'web', '--keep-last', '2')).remotes).toEqual(['origin/web']);
  const before = (await place.json(...store, 'stats')).objects;
  await place.ok(...store, '--quiet', 'gc', '--prune=now');
  expect((await place.json(...store, 'stats')).objects.commit).toBeLessThanOrEqual(before.commit);
  expect(await place.json(...store, 'log', '--all')).toHaveLength(2);
  await place.ok(...store, 'fsck');
});
