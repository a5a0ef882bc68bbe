import { expect, test } from 'vitest';
import { BaseCache } from '../../pack/base-cache.ts';

const MIB = 2 ** 20;
const base = (bytes: number): Uint8Array => new Uint8Array(bytes);

test('BaseCache gives back what was put', () => {
  const cache = new BaseCache();
  const one = base(10);
  cache.put(1, 12, one);
  expect(cache.get(1, 12)).toBe(one);
  expect(cache.get(1, 13)).toBeUndefined();
});

test('BaseCache tells packs apart when offsets are the same', () => {
  const cache = new BaseCache();
  const [one, two] = [base(10), base(10)];
  cache.put(1, 12, one);
  expect(cache.get(2, 12)).toBeUndefined();
  cache.put(2, 12, two);
  expect(cache.get(1, 12)).toBe(one);
  expect(cache.get(2, 12)).toBe(two);
  // Digits of pack and offset that are the same in a row are not the same place.
  cache.put(11, 2, one);
  expect(cache.get(1, 12)).toBe(one);
  expect(cache.get(112, 0)).toBeUndefined();
});

test('BaseCache holds at most 16 MiB and gives up the least recently used first', () => {
  const cache = new BaseCache();
  for (let i = 0; i < 16; i++) cache.put(i % 3, i, base(MIB));
  expect(cache.get(0, 0)).toBeDefined();
  cache.put(16 % 3, 16, base(MIB));
  expect(cache.get(0, 0)).toBeDefined();
  expect(cache.get(1, 1)).toBeUndefined();
  cache.put(17 % 3, 17, base(3 * MIB));
  const kept = Array.from({ length: 18 }, (_, i) => cache.get(i % 3, i)).filter((each) => each !== undefined);
  expect(kept.reduce((sum, data) => sum + data.length, 0)).toBe(16 * MIB);
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
