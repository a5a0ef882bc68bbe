import fc from 'fast-check';
import { expect, test } from 'vitest';
import { clusterCount, clustersPerSlot, MOST_LEVELS, mapLevels } from '../../../objects/index.ts';
import { SLOT_NAMES } from '../../../objects/map/geometry.ts';

test.each([
  [0, 1],
  [1, 1],
  [256, 1],
  [257, 2],
  [65_536, 2],
  [65_537, 3],
  [256 ** 3, 3],
  [256 ** 3 + 1, 4],
  [256 ** 5 + 1, 6],
])('mapLevels of %i clusters is %i', (clusters, levels) => {
  expect(mapLevels(clusters)).toBe(levels);
});

test('mapLevels is the least whose map holds the last cluster', () => {
  fc.assert(
    fc.property(
      fc.maxSafeNat().map((n) => Math.floor(n / 4096) + 1),
      (clusters) => {
        const levels = mapLevels(clusters);
        expect(clustersPerSlot(levels + 1)).toBeGreaterThanOrEqual(clusters);
        if (levels > 1) expect(clustersPerSlot(levels)).toBeLessThan(clusters);
        expect(levels).toBeLessThanOrEqual(MOST_LEVELS);
      },
    ),
  );
});

test('mapLevels is at most MOST_LEVELS for the largest disk of the smallest clusters', () => {
  expect(mapLevels(clusterCount(Number.MAX_SAFE_INTEGER, 4096))).toBe(MOST_LEVELS);
});

test('clusterCount counts a shorter last cluster', () => {
  expect([0, 1, 4095, 4096, 4097].map((size) => clusterCount(size, 4096))).toEqual([0, 1, 1, 1, 2]);
});

test('SLOT_NAMES are two lower-case hex digits in order', () => {
  expect(SLOT_NAMES).toHaveLength(256);
  expect([SLOT_NAMES[0], SLOT_NAMES[10], SLOT_NAMES[255]]).toEqual(['00', '0a', 'ff']);
  expect([...SLOT_NAMES].sort()).toEqual(SLOT_NAMES);
});
