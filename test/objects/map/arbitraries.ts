import fc from 'fast-check';
import { blob, type Model } from './tree-store.ts';

/** Cluster numbers below 256^levels: dense ones, lonely ones, and those at the edges of nodes. */
export function anyCluster(levels: number): fc.Arbitrary<number> {
  const most = 256 ** levels - 1;
  const edges = [0, 255, 256, 65_535, 65_536, most - 1, most].filter((cluster) => cluster <= most);
  return fc.oneof(fc.nat(Math.min(most, 600)), fc.nat(most), fc.constantFrom(...edges));
}

/** Maps of few different blobs, so that equal subtrees come about. */
export function anyModel(levels: number): fc.Arbitrary<Model> {
  return fc
    .array(fc.tuple(anyCluster(levels), fc.integer({ min: 1, max: 5 }).map(blob)), { maxLength: 30 })
    .map((rows) => new Map(rows));
}

/** Changes, of which some make zeros. */
export function anyChanges(levels: number): fc.Arbitrary<Model> {
  const id = fc.option(fc.integer({ min: 1, max: 8 }).map(blob), { nil: undefined });
  return fc.array(fc.tuple(anyCluster(levels), id), { maxLength: 20 }).map((rows) => new Map(rows));
}

export const anyLevels = fc.integer({ min: 1, max: 4 });
