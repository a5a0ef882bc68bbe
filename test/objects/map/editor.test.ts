import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MapEditor, objectId } from '../../../objects/index.ts';
import { anyChanges, anyLevels, anyModel } from './arbitraries.ts';
import { blob, inOrder, type Model, TreeStore } from './tree-store.ts';

const EMPTY_TREE = objectId('tree', new Uint8Array(0));

/** What changes make of a map. */
function changed(base: Model, changes: Model): Model {
  const result = new Map([...base, ...changes]);
  for (const [cluster, id] of result) if (id === undefined) result.delete(cluster);
  return result;
}

test('MapEditor makes a map of the clusters that were set', async () => {
  const cases = anyLevels.chain((levels) => fc.tuple(fc.constant(levels), anyChanges(levels)));
  await fc.assert(
    fc.asyncProperty(cases, async ([levels, changes]) => {
      const store = new TreeStore();
      const root = await store.edit(changes, levels);
      expect(inOrder(await store.clusters(root))).toEqual(inOrder(changed(new Map(), changes)));
    }),
  );
});

test('MapEditor over a base gives the very id that a new map of the result has', async () => {
  const cases = fc
    .tuple(anyLevels, anyLevels)
    .chain(([before, after]) =>
      fc.tuple(fc.constant(before), fc.constant(after), anyModel(before), anyChanges(after)),
    );
  await fc.assert(
    fc.asyncProperty(cases, async ([before, after, clusters, changes]) => {
      const store = new TreeStore();
      const base = await store.build(clusters, before);
      const root = await store.edit(changes, after, base);
      const kept = new Map([...clusters].filter(([cluster]) => cluster < 256 ** after));
      expect(root.id).toBe((await store.build(changed(kept, changes), after)).id);
    }),
    { numRuns: 300 },
  );
});

test('MapEditor gives the empty tree when nothing was set', async () => {
  for (const levels of [1, 2, 3]) expect((await new TreeStore().edit(new Map(), levels)).id).toBe(EMPTY_TREE);
});

test('MapEditor gives the empty tree when every cluster is cleared', async () => {
  await fc.assert(
    fc.asyncProperty(anyModel(3), async (clusters) => {
      const store = new TreeStore();
      const base = await store.build(clusters, 3);
      const cleared = await store.edit(
        new Map([...clusters.keys()].map((cluster) => [cluster, undefined])),
        3,
        base,
      );
      expect(cleared.id).toBe(EMPTY_TREE);
    }),
  );
});

test('MapEditor hangs the old map into entry 00 when the disk grows past a power of 256', async () => {
  const store = new TreeStore();
  const base = await store.build(new Map([[3, blob(3)]]), 1);
  const grown = await store.edit(new Map([[256, blob(4)]]), 2, base);
  const root = store.trees.get(grown.id!)!;
  expect(root.subarray(0, 9).toString('latin1')).toBe('40000 00\0');
  expect(root.toString('hex', 9, 41)).toBe(base.id);
  expect(inOrder(await store.clusters(grown))).toEqual([
    [3, blob(3)],
    [256, blob(4)],
  ]);
});

test('MapEditor reads nothing of the base and writes the new levels once when the disk only grows', async () => {
  const store = new TreeStore();
  const base = await store.build(new Map([[3, blob(3)]]), 1);
  store.forgetCounts();
  const grown = await store.edit(new Map(), 3, base);
  expect(store.reads).toEqual([]);
  expect(store.writes).toHaveLength(2);
  expect([...(await store.clusters(grown))]).toEqual([[3, blob(3)]]);
});

test('MapEditor gives the base itself, and writes nothing, when nothing changes', async () => {
  const store = new TreeStore();
  const clusters: Model = new Map([1, 300, 70_000].map((n) => [n, blob(n)]));
  const base = await store.build(clusters, 3);
  store.forgetCounts();
  expect((await store.edit(new Map(), 3, base)).id).toBe(base.id);
  expect((await store.edit(new Map([...clusters, [5, undefined]]), 3, base)).id).toBe(base.id);
  expect(store.writes).toEqual([]);
});

test('MapEditor reads and writes only the nodes on the way to a change', async () => {
  const store = new TreeStore();
  const clusters: Model = new Map(Array.from({ length: 400 }, (_, i) => [i * 40_000, blob(i + 1)]));
  const base = await store.build(clusters, 3);
  store.forgetCounts();
  await store.edit(new Map([[40_000, blob(9999)]]), 3, base);
  expect(store.reads).toHaveLength(3);
  expect(store.writes).toHaveLength(3);
  store.forgetCounts();
  // Two leaves of one middle node: the root and the middle are read and written once.
  await store.edit(
    new Map([
      [1, blob(1)],
      [256, blob(2)],
    ]),
    3,
    base,
  );
  expect(store.reads).toHaveLength(3);
  expect(store.writes).toHaveLength(4);
});

test('MapEditor writes each node once when a whole map is set in order', async () => {
  const store = new TreeStore();
  const clusters: Model = new Map(Array.from({ length: 1000 }, (_, i) => [i, blob(i + 1)]));
  await store.build(clusters, 2);
  expect(store.reads).toEqual([]);
  expect(store.writes).toHaveLength(5);
});

test('MapEditor.set throws USAGE when a cluster is out of order or beyond the map', async () => {
  const store = new TreeStore();
  const editor = new MapEditor(store.read, store.write, 1);
  await editor.set(5, blob(1));
  for (const cluster of [5, 4, 0, -1, 256, 1000]) {
    await expect(editor.set(cluster, blob(1))).rejects.toMatchObject({ code: 'USAGE', data: { cluster } });
  }
  await editor.set(255, blob(2));
  expect(inOrder(await store.clusters({ id: await editor.finish(), levels: 1 }))).toEqual([
    [5, blob(1)],
    [255, blob(2)],
  ]);
});
