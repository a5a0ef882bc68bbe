import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MapLookup, type ObjectId } from '../../../objects/index.ts';
import { anyCluster, anyLevels, anyModel } from './arbitraries.ts';
import { inOrder, TreeStore } from './tree-store.ts';

/** Counts what is read. */
function lookupOf(store: TreeStore): { lookup: MapLookup; reads: ObjectId[] } {
  const reads: ObjectId[] = [];
  const lookup = new MapLookup((id) => {
    reads.push(id);
    return store.trees.get(id)!;
  });
  return { lookup, reads };
}

const cases = anyLevels.chain((levels) =>
  fc.tuple(fc.constant(levels), anyModel(levels), anyCluster(levels), anyCluster(levels)),
);

test('MapLookup.find gives what the map has at a cluster', async () => {
  await fc.assert(
    fc.asyncProperty(cases, async ([levels, clusters, a, b]) => {
      const store = new TreeStore();
      const root = await store.build(clusters, levels);
      const { lookup } = lookupOf(store);
      for (const cluster of [a, b, ...clusters.keys()])
        expect(lookup.find(root, cluster)).toBe(clusters.get(cluster));
    }),
  );
});

test('MapLookup.clusters gives the clusters of a range in order', async () => {
  await fc.assert(
    fc.asyncProperty(cases, async ([levels, clusters, a, b]) => {
      const store = new TreeStore();
      const root = await store.build(clusters, levels);
      const [from, to] = [Math.min(a, b), Math.max(a, b) + 1];
      const found = [...lookupOf(store).lookup.clusters(root, from, to)].map(({ cluster, id }) => [
        cluster,
        id,
      ]);
      expect(found).toEqual(inOrder(clusters).filter(([cluster]) => cluster >= from && cluster < to));
    }),
  );
});

test('MapLookup reads a node once, and again after it was cleared', async () => {
  const store = new TreeStore();
  const id = 'ab'.repeat(32);
  const root = await store.build(
    new Map([
      [1, id],
      [300, id],
    ]),
    2,
  );
  const { lookup, reads } = lookupOf(store);
  for (let i = 0; i < 3; i++) expect([lookup.find(root, 1), lookup.find(root, 300)]).toEqual([id, id]);
  expect(reads).toHaveLength(3);
  lookup.clear();
  lookup.find(root, 1);
  expect(reads).toHaveLength(5);
});

test('MapLookup names the tree that is no node of a map', async () => {
  const lookup = new MapLookup(() => Buffer.from('100644 zz\0'.padEnd(42, '\x01'), 'latin1'));
  const root = { id: 'cd'.repeat(32), levels: 1 };
  expect(() => lookup.find(root, 0)).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
  expect(() => lookup.find(root, 0)).toThrow(`tree ${root.id}`);
});
