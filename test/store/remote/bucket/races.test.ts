import { describe, expect, test } from 'vitest';
import { NULL_ID, type ObjectId } from '../../../../objects/index.ts';
import { STATES, stateNumber } from '../../../../remote/index.ts';
import { FaultyBucket } from '../../../remote/faulty-bucket.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { diskOf } from '../../disks.ts';
import { git, gitFsck } from '../../git.ts';
import { commitBytes, newStore, type TestStore } from '../../new-store.ts';
import { readBack } from '../../read-back.ts';
import { expectWhole, fetchAll, ownRefs, pushAll, withWay } from './ways.ts';

const idOf = async (place: TestStore, branch: string) => (await ownRefs(place)).get(`refs/heads/${branch}`)!;

function move(place: TestStore, bucket: MemoryBucket, branch: string, before: ObjectId, after: ObjectId) {
  return withWay(place, bucket, (way) => way.push([{ name: `refs/heads/${branch}`, before, after }]));
}

describe('pushers that race', () => {
  test('on one branch: one wins each round, the others are told, and nothing of a winner is lost', async () => {
    const bucket = new MemoryBucket();
    const places = [await newStore(), await newStore(), await newStore()];
    await commitBytes(places[0]!, 'web', diskOf([1, 2, 3]));
    await pushAll(places[0]!, bucket);
    const won = [await idOf(places[0]!, 'web')];
    for (let round = 0; round < 8; round++) {
      const before = won.at(-1)!;
      for (const place of places) {
        await withWay(place, bucket, (way) => way.fetch([before]));
        await git(place.path, 'update-ref', 'refs/heads/web', before);
      }
      const afters: ObjectId[] = [];
      for (const [i, place] of places.entries()) {
        await commitBytes(place, 'web', diskOf([100 * round + i + 10, 2, 3]), { message: `${i}` });
        afters.push(await idOf(place, 'web'));
      }
      const outcomes = await Promise.all(
        places.map((place, i) => move(place, bucket, 'web', before, afters[i]!)),
      );
      const faults = outcomes.map(({ results }) => results[0]!);
      const winners = afters.filter((_, i) => faults[i]!.fault === undefined);
      expect(winners).toHaveLength(1);
      expect(faults.filter(({ moved }) => moved)).toHaveLength(places.length - 1);
      won.push(winners[0]!);
    }
    const to = await newStore();
    await fetchAll(to, bucket);
    expect(await git(to.path, 'rev-list', 'refs/heads/web')).toBe(won.toReversed().join('\n'));
    await gitFsck(to.path);
  });

  test('on branches of their own: all win, and states have no gap', async () => {
    const bucket = new MemoryBucket();
    const places = [await newStore(), await newStore(), await newStore(), await newStore()];
    const ROUNDS = 6;
    await Promise.all(
      places.map(async (place, i) => {
        let before = NULL_ID;
        for (let round = 0; round < ROUNDS; round++) {
          await commitBytes(place, `b${i}`, diskOf([i + 1, 100 * i + round + 20]));
          const after = await idOf(place, `b${i}`);
          const { results } = await move(place, bucket, `b${i}`, before, after);
          expect(results).toEqual([{ name: `refs/heads/b${i}` }]);
          before = after;
        }
      }),
    );
    const states = [...bucket.objects.keys()].filter((name) => name.startsWith(STATES)).map(stateNumber);
    expect(states.toSorted((a, b) => a! - b!)).toEqual(
      Array.from({ length: places.length * ROUNDS }, (_, i) => i + 1),
    );
    const to = await newStore();
    await fetchAll(to, bucket);
    for (const [i, place] of places.entries())
      expect((await readBack(to.store, `b${i}`)).equals(await readBack(place.store, `b${i}`))).toBe(true);
    await gitFsck(to.path);
  });

  test('who moves a ref to where somebody else has moved it meanwhile is told that it is there', async () => {
    const bucket = new MemoryBucket();
    const place = await newStore();
    await commitBytes(place, 'web', diskOf([1]));
    const id = await idOf(place, 'web');
    await move(place, bucket, 'web', NULL_ID, id);
    expect(await move(place, bucket, 'web', NULL_ID, id)).toMatchObject({
      results: [{ name: 'refs/heads/web' }],
    });
    expect((await move(place, bucket, 'web', NULL_ID, id)).results[0]!.fault).toBeUndefined();
    expect([...bucket.objects.keys()].filter((name) => name.startsWith(STATES))).toHaveLength(1);
  });

  test('a crowd that always wins is given up on with BUSY', async () => {
    const bucket = new MemoryBucket();
    const place = await newStore();
    await commitBytes(place, 'web', diskOf([1]));
    const losing = new FaultyBucket(bucket);
    losing.putNew = async (name, body) => (name.startsWith(STATES) ? false : bucket.putNew(name, body));
    await expect(pushAll(place, losing)).rejects.toMatchObject({ code: 'BUSY' });
    await pushAll(place, bucket);
    await expectWhole(place, bucket);
  });
});

describe('refs of a bucket', () => {
  test('are moved back, forced, removed and made anew', async () => {
    const bucket = new MemoryBucket();
    const place = await newStore();
    for (const seed of [1, 2, 3]) await commitBytes(place, 'web', diskOf([seed, 9]));
    await commitBytes(place, 'db', diskOf([5]));
    await git(place.path, 'tag', 'light', 'web');
    await git(place.path, 'tag', '-a', '-m', 'a tag', 'heavy', 'web~1');
    await git(place.path, 'tag', '-a', '-m', 'a tag of a tag', 'nested', 'heavy');
    await git(place.path, 'tag', '-a', '-m', 'of a tree', 'tree', 'web^{tree}');
    await pushAll(place, bucket);
    await expectWhole(place, bucket);

    await git(place.path, 'update-ref', 'refs/heads/web', 'refs/heads/web~2');
    await git(place.path, 'update-ref', '-d', 'refs/heads/db');
    await git(place.path, 'tag', '-d', 'nested');
    await git(place.path, 'tag', '-f', '-a', '-m', 'another', 'heavy', 'web');
    await pushAll(place, bucket);
    await expectWhole(place, bucket);

    await commitBytes(place, 'web', diskOf([4, 9]));
    await commitBytes(place, 'db', diskOf([5]), { message: 'again' });
    await pushAll(place, bucket);
    await expectWhole(place, bucket);
  });

  test('are all removed, and a new store is then empty', async () => {
    const bucket = new MemoryBucket();
    const place = await newStore();
    await commitBytes(place, 'web', diskOf([1]));
    await pushAll(place, bucket);
    await git(place.path, 'update-ref', '-d', 'refs/heads/web');
    await pushAll(place, bucket);
    expect((await ownRefs(await expectWhole(place, bucket))).size).toBe(0);
  });
});

test('a long history goes there in many pushes and comes back in one fetch', async () => {
  const bucket = new MemoryBucket();
  const place = await newStore();
  for (let i = 0; i < 300; i++) {
    await commitBytes(place, 'web', diskOf([i + 1, 7, i % 5]));
    if (i % 30 === 29) await pushAll(place, bucket);
  }
  const to = await expectWhole(place, bucket);
  expect(await git(to.path, 'rev-list', '--count', 'refs/heads/web')).toBe('300');
});
