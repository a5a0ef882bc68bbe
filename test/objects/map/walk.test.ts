import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type MapRoot, walkMap } from '../../../objects/index.ts';
import { anyCluster, anyLevels, anyModel } from './arbitraries.ts';
import { blob, inOrder, type Model, TreeStore } from './tree-store.ts';

async function firsts(store: TreeStore, root: MapRoot, from?: number, to?: number): Promise<number[]> {
  const found: number[] = [];
  for await (const { first } of walkMap(store.read, root, from, to)) found.push(first);
  return found;
}

test('walkMap gives every cluster in order', async () => {
  const cases = anyLevels.chain((levels) => fc.tuple(fc.constant(levels), anyModel(levels)));
  await fc.assert(
    fc.asyncProperty(cases, async ([levels, clusters]) => {
      const store = new TreeStore();
      const root = await store.build(clusters, levels);
      expect([...(await store.clusters(root))]).toEqual(inOrder(clusters));
    }),
  );
});

test('walkMap of a range gives the leaves that reach into it and no others', async () => {
  const cases = anyLevels.chain((levels) =>
    fc.tuple(fc.constant(levels), anyModel(levels), anyCluster(levels), anyCluster(levels)),
  );
  await fc.assert(
    fc.asyncProperty(cases, async ([levels, clusters, a, b]) => {
      const store = new TreeStore();
      const root = await store.build(clusters, levels);
      const [from, to] = [Math.min(a, b), Math.max(a, b) + 1];
      const leaves = new Set([...clusters.keys()].map((cluster) => cluster - (cluster % 256)));
      const expected = [...leaves].filter((first) => first < to && first + 256 > from).sort((x, y) => x - y);
      const found = await firsts(store, root, from, to);
      // A map of one level is one leaf, whether it has entries or not.
      if (levels > 1 || clusters.size > 0) expect(found).toEqual(expected);
    }),
  );
});

test('walkMap reads nothing when the map is zeros', async () => {
  const store = new TreeStore();
  expect(await firsts(store, { id: undefined, levels: 4 })).toEqual([]);
  expect(store.reads).toEqual([]);
});

test('walkMap reads a node only when it comes to it', async () => {
  const store = new TreeStore();
  const root = await store.build(new Map(Array.from({ length: 100 }, (_, i) => [i * 256, blob(i + 1)])), 3);
  store.forgetCounts();
  const walk = walkMap(store.read, root);
  expect(store.reads).toHaveLength(0);
  await walk.next();
  expect(store.reads).toHaveLength(3);
  await walk.next();
  expect(store.reads).toHaveLength(4);
  await walk.return(undefined);
  expect(store.reads).toHaveLength(4);
});

test('walkMap of a range reads only the way to it', async () => {
  const store = new TreeStore();
  const clusters: Model = new Map(Array.from({ length: 300 }, (_, i) => [i * 1000, blob(i + 1)]));
  const root = await store.build(clusters, 3);
  store.forgetCounts();
  expect(await firsts(store, root, 150_000, 150_001)).toEqual([149_760]);
  expect(store.reads).toHaveLength(3);
});

test('walkMap throws DAMAGED when a map has fewer levels than its root says', async () => {
  const store = new TreeStore();
  const { id } = await store.build(new Map([[1, blob(1)]]), 1);
  await expect(firsts(store, { id, levels: 2 })).rejects.toMatchObject({ code: 'DAMAGED' });
});
