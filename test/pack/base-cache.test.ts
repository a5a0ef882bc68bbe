import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BaseCache } from '../../pack/base-cache.ts';

const MIB = 2 ** 20;
const base = (bytes: number, value = 0): Uint8Array => new Uint8Array(bytes).fill(value);

const same = (bytes: Uint8Array) => (found: Uint8Array | undefined) =>
  found !== undefined && Buffer.compare(found, bytes) === 0;

test('BaseCache gives back what was put', () => {
  const cache = new BaseCache();
  const one = base(10, 1);
  cache.put(1, 12, one);
  expect(cache.get(1, 12)).toSatisfy(same(one));
  expect(cache.get(1, 13)).toBeUndefined();
});

test('BaseCache tells packs apart when offsets are the same', () => {
  const cache = new BaseCache();
  const [one, two] = [base(10, 1), base(10, 2)];
  cache.put(1, 12, one);
  expect(cache.get(2, 12)).toBeUndefined();
  cache.put(2, 12, two);
  expect(cache.get(1, 12)).toSatisfy(same(one));
  expect(cache.get(2, 12)).toSatisfy(same(two));
  // Digits of pack and offset that are the same in a row are not the same place.
  cache.put(11, 2, one);
  expect(cache.get(1, 12)).toSatisfy(same(one));
  expect(cache.get(112, 0)).toBeUndefined();
});

test('BaseCache holds at most 16 MiB and gives up the oldest first', () => {
  const cache = new BaseCache();
  for (let i = 0; i < 16; i++) cache.put(i % 3, i, base(MIB, i));
  const kept = (count: number) =>
    Array.from({ length: count }, (_, i) => i).filter((i) => cache.get(i % 3, i) !== undefined);
  expect(kept(16)).toHaveLength(16);
  cache.put(16 % 3, 16, base(MIB, 16));
  expect(kept(17)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
  cache.put(17 % 3, 17, base(3 * MIB, 17));
  expect(kept(18)).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]);
  for (const i of kept(17)) expect(cache.get(i % 3, i)).toSatisfy(same(base(MIB, i)));
});

test('BaseCache gives back just what was put, whatever the sizes', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5 * MIB }), { maxLength: 40 }), (sizes) => {
      const cache = new BaseCache();
      for (const [i, size] of sizes.entries()) {
        cache.put(1, i, base(size, i));
        for (let before = 0; before <= i; before++) {
          const found = cache.get(1, before);
          if (found !== undefined) {
            expect(found.length).toBe(sizes[before]);
            if (found.length > 0) expect([found[0], found.at(-1)]).toEqual([before, before]);
          }
        }
        expect(cache.get(1, i)).toBeDefined();
      }
    }),
    { numRuns: 30 },
  );
});

test('BaseCache counts a base once when it is put twice', () => {
  const cache = new BaseCache();
  cache.put(1, 1, base(1));
  for (let i = 0; i < 80; i++) cache.put(1, 2, base(MIB));
  expect(cache.get(1, 1)).toBeDefined();
});

test('BaseCache does not keep a base that is larger than all of it', () => {
  const cache = new BaseCache();
  cache.put(1, 1, base(17 * MIB));
  expect(cache.get(1, 1)).toBeUndefined();
  cache.put(1, 2, base(16 * MIB));
  expect(cache.get(1, 2)).toBeDefined();
});
