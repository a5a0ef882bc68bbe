import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SKETCH_FEATURES, sketch } from '../../../pack/index.ts';
import { noise } from '../../objects/noise.ts';

const CLUSTER = 64 * 1024;

/** Text, zeros and noise in pieces of many lengths, so that no two places are alike: a cluster of a file system. */
function content(seed: number): Buffer {
  const pieces: Buffer[] = [];
  for (let i = 0, length = 0; length < CLUSTER; i++) {
    const size = 500 + ((seed * 7919 + i * 104_729) % 6000);
    const piece =
      i % 3 === 0
        ? noise(size, seed * 1000 + i)
        : i % 3 === 1
          ? Buffer.from(noise(size >> 1, seed * 1000 + i).toString('hex'))
          : Buffer.alloc(size);
    pieces.push(piece);
    length += piece.length;
  }
  return Buffer.concat(pieces).subarray(0, CLUSTER);
}

function shared(one: Uint32Array, other: Uint32Array): number {
  return one.filter((feature) => other.includes(feature)).length;
}

test('sketch gives the same features for the same data, ascending and different, at most SKETCH_FEATURES', () => {
  const data = fc.oneof(
    fc.uint8Array({ maxLength: 3000 }),
    fc.tuple(fc.nat(20_000), fc.nat(20)).map(([length, seed]) => noise(length, seed)),
    // A period, in which the same place comes again and again.
    fc
      .tuple(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(5000))
      .map(([period, length]) => Buffer.alloc(length, period)),
  );
  fc.assert(
    fc.property(data, (bytes) => {
      const features = sketch(bytes);
      expect(features.length).toBeLessThanOrEqual(SKETCH_FEATURES);
      expect([...features]).toEqual([...new Set(features)].sort((a, b) => a - b));
      expect(sketch(Buffer.concat([Buffer.of(1), bytes]).subarray(1))).toEqual(features);
    }),
    { numRuns: 300 },
  );
});

test('sketch keeps the features that are the smallest of all', () => {
  for (let seed = 0; seed < 20; seed++) {
    const data = noise(20_000, seed);
    // The smallest of a whole are among the smallest of its parts; parts overlap by more than a place depends on.
    const parts = [data.subarray(0, 7000), data.subarray(6900, 14_000), data.subarray(13_900)];
    const union = [...new Set(parts.flatMap((part) => [...sketch(part)]))].sort((a, b) => a - b);
    expect([...sketch(data)]).toEqual(union.slice(0, SKETCH_FEATURES));
  }
});

test('sketch keeps most features when content moves by any number of bytes', () => {
  const SEEDS = 60;
  let kept = 0;
  for (let seed = 0; seed < SEEDS; seed++) {
    const cluster = content(seed);
    const moved = Buffer.concat([noise(1 + ((seed * 337) % 5000), seed + 5000), cluster]).subarray(
      0,
      CLUSTER,
    );
    if (shared(sketch(cluster), sketch(moved)) >= 10) kept++;
  }
  expect(kept).toBeGreaterThanOrEqual(0.9 * SEEDS);
});

test('sketch loses features in proportion to what is changed', () => {
  const SEEDS = 60;
  const average = (changed: number) => {
    let sum = 0;
    for (let seed = 0; seed < SEEDS; seed++) {
      const one = noise(CLUSTER, seed);
      const other = Buffer.concat([noise(changed, seed + 5000), one.subarray(changed)]);
      sum += shared(sketch(one), sketch(other));
    }
    return sum / SEEDS;
  };
  expect(average(1000)).toBeGreaterThan(15);
  const half = average(CLUSTER / 2);
  expect(half).toBeGreaterThan(3);
  expect(half).toBeLessThan(9);
});

test('sketch gives noise that has nothing in common no common feature', () => {
  const sketches = Array.from({ length: 40 }, (_, seed) => sketch(noise(CLUSTER, seed)));
  for (const features of sketches) expect(features).toHaveLength(SKETCH_FEATURES);
  expect(new Set(sketches.flatMap((features) => [...features])).size).toBe(40 * SKETCH_FEATURES);
});

test('sketch gives nothing for data that is short or zeros, and hardly anything for another value', () => {
  for (let length = 0; length <= 32; length++)
    for (let seed = 0; seed < 50; seed++) expect(sketch(noise(length, seed))).toHaveLength(0);
  // A run of one value is one place over and over, or, as for most values and for zeros, none.
  for (let value = 0; value < 256; value++)
    expect(sketch(Buffer.alloc(2000, value)).length).toBeLessThanOrEqual(1);
  expect(sketch(Buffer.alloc(CLUSTER))).toHaveLength(0);
});

test('sketch forgets what came more than 32 bytes before', () => {
  const end = noise(2000, 1);
  const features = sketch(Buffer.concat([Buffer.alloc(1000), end]));
  expect(sketch(Buffer.concat([Buffer.alloc(5001), end]))).toEqual(features);
});

test('sketch gives the features that stored sketches were made of', () => {
  // Made by another implementation of the description. They must never change, as stores keep sketches of objects that came before.
  const bytes = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * i * 31 + (i >> 3) * 7) & 0xff));
  expect([...sketch(bytes)]).toEqual([
    200759439, 258827149, 302897354, 377347396, 507963396, 552195411, 845520690, 1126887573, 1163011485,
    1181786409, 1326823700, 1350020160, 1350360475, 1552432448, 1904315377, 2316608018,
  ]);
  expect([...sketch(noise(CLUSTER, 1))]).toEqual([
    4006932, 4813498, 7637427, 14443440, 15080801, 18747806, 20725238, 23861891, 26526514, 33978605, 35472458,
    39394229, 49171913, 50665603, 51300593, 53847118,
  ]);
});
