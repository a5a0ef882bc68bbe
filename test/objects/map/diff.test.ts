import fc from 'fast-check';
import { expect, test } from 'vitest';
import { diffMaps, type MapChange, type MapRoot } from '../../../objects/index.ts';
import { anyLevels, anyModel } from './arbitraries.ts';
import { blob, inOrder, type Model, TreeStore } from './tree-store.ts';

async function diff(store: TreeStore, before: MapRoot, after: MapRoot): Promise<MapChange[]> {
  const changes: MapChange[] = [];
  for await (const change of diffMaps(store.read, before, after)) changes.push(change);
  return changes;
}

/** The difference of two models. */
function expected(before: Model, after: Model): MapChange[] {
  const clusters = [...new Set([...before.keys(), ...after.keys()])].sort((a, b) => a - b);
  return clusters
    .map((cluster) => ({ cluster, before: before.get(cluster), after: after.get(cluster) }))
    .filter((change) => change.before !== change.after);
}

test('diffMaps gives the clusters that differ, in order, for maps of any heights', async () => {
  const cases = fc
    .tuple(anyLevels, anyLevels)
    .chain(([a, b]) => fc.tuple(fc.constant(a), anyModel(a), fc.constant(b), anyModel(b)));
  await fc.assert(
    fc.asyncProperty(cases, async ([levelsBefore, before, levelsAfter, after]) => {
      const store = new TreeStore();
      const a = await store.build(before, levelsBefore);
      const b = await store.build(after, levelsAfter);
      expect(await diff(store, a, b)).toEqual(expected(before, after));
    }),
    { numRuns: 300 },
  );
});

test('diffMaps finds few changes between maps that share most', async () => {
  const cases = anyLevels.chain((levels) =>
    fc.tuple(fc.constant(levels), anyModel(levels), anyModel(levels)),
  );
  await fc.assert(
    fc.asyncProperty(cases, async ([levels, before, changes]) => {
      const store = new TreeStore();
      const a = await store.build(before, levels);
      const b = await store.edit(changes, levels, a);
      expect(await diff(store, a, b)).toEqual(expected(before, new Map([...before, ...changes])));
    }),
  );
});

test('diffMaps takes an undefined root as zeros', async () => {
  const store = new TreeStore();
  const clusters: Model = new Map([3, 700].map((n) => [n, blob(n)]));
  const root = await store.build(clusters, 2);
  const zeros = { id: undefined, levels: 1 };
  expect(await diff(store, zeros, root)).toEqual(expected(new Map(), clusters));
  expect(await diff(store, root, zeros)).toEqual(expected(clusters, new Map()));
  expect(await diff(store, zeros, { id: undefined, levels: 4 })).toEqual([]);
});

test('diffMaps reads nothing when the maps are equal', async () => {
  const store = new TreeStore();
  const root = await store.build(new Map([[70_000, blob(1)]]), 3);
  store.forgetCounts();
  expect(await diff(store, root, { ...root })).toEqual([]);
  expect(store.reads).toEqual([]);
});

test('diffMaps never reads a subtree that both maps have', async () => {
  const store = new TreeStore();
  const clusters: Model = new Map(Array.from({ length: 500 }, (_, i) => [i * 300, blob(i + 1)]));
  const before = await store.build(clusters, 3);
  const after = await store.edit(new Map([[60_000, blob(9999)]]), 3, before);
  store.forgetCounts();
  expect((await diff(store, before, after)).map(({ cluster }) => cluster)).toEqual([60_000]);
  expect(store.reads).toHaveLength(6);
});

test('diffMaps never reads the old map when the new one only grew around it', async () => {
  const store = new TreeStore();
  const before = await store.build(new Map([1, 2, 200].map((n) => [n, blob(n)])), 1);
  const after = await store.edit(new Map([[100_000, blob(5)]]), 3, before);
  store.forgetCounts();
  expect((await diff(store, before, after)).map(({ cluster }) => cluster)).toEqual([100_000]);
  expect(store.reads).not.toContain(before.id);
  expect(inOrder(await store.clusters(after))).toHaveLength(4);
});
