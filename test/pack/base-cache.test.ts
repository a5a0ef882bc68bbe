import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BaseCache } from '../../pack/base-cache.ts';

const MIB = 2 ** 20;
const base = (bytes: number, value = 0): Uint8Array => new Uint8Array(bytes).fill(value);

/** Puts bytes that are there already. */
const put = (cache: BaseCache, pack: number, offset: number, bytes: Uint8Array) =>
  cache.put(pack, offset, bytes.length, (into) => {
    into?.set(bytes);
    return into ?? bytes;
  });

const same = (bytes: Uint8Array) => (found: Uint8Array | undefined) =>
  found !== undefined && Buffer.compare(found, bytes) === 0;

test('BaseCache gives back what was put', () => {
  const cache = new BaseCache();
  const one = base(10, 1);
  put(cache, 1, 12, one);
  expect(cache.get(1, 12)).toSatisfy(same(one));
  expect(cache.get(1, 13)).toBeUndefined();
});

test('BaseCache tells packs apart when offsets are the same', () => {
  const cache = new BaseCache();
  const [one, two] = [base(10, 1), base(10, 2)];
  put(cache, 1, 12, one);
  expect(cache.get(2, 12)).toBeUndefined();
  put(cache, 2, 12, two);
  expect(cache.get(1, 12)).toSatisfy(same(one));
  expect(cache.get(2, 12)).toSatisfy(same(two));
  // Digits of pack and offset that are the same in a row are not the same place.
  put(cache, 11, 2, one);
  expect(cache.get(1, 12)).toSatisfy(same(one));
  expect(cache.get(112, 0)).toBeUndefined();
});

test('BaseCache holds at most 16 MiB and gives up the oldest first', () => {
  const cache = new BaseCache();
  for (let i = 0; i < 16; i++) put(cache, i % 3, i, base(MIB, i));
  const kept = (count: number) =>
    Array.from({ length: count }, (_, i) => i).filter((i) => cache.get(i % 3, i) !== undefined);
  expect(kept(16)).toHaveLength(16);
  put(cache, 16 % 3, 16, base(MIB, 16));
  expect(kept(17)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
  put(cache, 17 % 3, 17, base(3 * MIB, 17));
  expect(kept(18)).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]);
  for (const i of kept(17)) expect(cache.get(i % 3, i)).toSatisfy(same(base(MIB, i)));
});

test('BaseCache gives back just what was put, whatever the sizes', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5 * MIB }), { maxLength: 40 }), (sizes) => {
      const cache = new BaseCache();
      for (const [i, size] of sizes.entries()) {
        put(cache, 1, i, base(size, i));
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
  put(cache, 1, 1, base(1));
  for (let i = 0; i < 80; i++) put(cache, 1, 2, base(MIB));
  expect(cache.get(1, 1)).toBeDefined();
});

test('BaseCache does not keep a base that is larger than all of it', () => {
  const cache = new BaseCache();
  put(cache, 1, 1, base(17 * MIB));
  expect(cache.get(1, 1)).toBeUndefined();
  put(cache, 1, 2, base(16 * MIB));
  expect(cache.get(1, 2)).toBeDefined();
});

test('BaseCache keeps nothing of a base that could not be made', () => {
  const cache = new BaseCache();
  put(cache, 1, 1, base(10, 1));
  const fail = (into: Uint8Array | undefined) => {
    into!.fill(7);
    throw new Error('damaged');
  };
  expect(() => cache.put(1, 2, 10, fail)).toThrow('damaged');
  expect(cache.get(1, 2)).toBeUndefined();
  expect(cache.get(1, 1)).toSatisfy(same(base(10, 1)));
  expect(put(cache, 1, 2, base(10, 2))).toSatisfy(same(base(10, 2)));
});

test('BaseCache makes no base over the one that it is made of', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 5 * MIB }), fc.nat()), { minLength: 2, maxLength: 40 }),
      (steps) => {
        const cache = new BaseCache();
        for (const [i, [size, chosen]] of steps.entries()) {
          const of = i === 0 ? undefined : cache.get(1, chosen % i);
          const [first, last] = [of?.[0], of?.at(-1)];
          const made = cache.put(
            1,
            i,
            size,
            (into = new Uint8Array(size)) => {
              into.fill(i);
              expect([of?.[0], of?.at(-1)]).toEqual([first, last]);
              return into;
            },
            of,
          );
          expect([made.length, made[0], made.at(-1)]).toEqual([size, i, i]);
        }
      },
    ),
    { numRuns: 30 },
  );
});
