import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ObjectFrames, objectId } from '../../objects/index.ts';
import { noise } from './noise.ts';

test('ObjectFrames.ids are the ids of the bytes that were put there, of any lengths after any others', () => {
  const frames = new ObjectFrames('blob');
  const objects = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 });
  fc.assert(
    fc.property(objects, (all) => {
      for (const [i, bytes] of all.entries()) frames.resize(i, bytes.length).set(bytes);
      expect(frames.ids(all.length)).toEqual(all.map((bytes) => objectId('blob', bytes)));
    }),
    { examples: [[[new Uint8Array(0)]], [[new Uint8Array(100)]], [[]], [[new Uint8Array(65_536)]]] },
  );
});

test('ObjectFrames.ids are those of clusters, however many there are and were', () => {
  const frames = new ObjectFrames('blob');
  // Beyond what is hashed before a native library is loaded.
  for (let round = 0; round < 400; round++) {
    const count = 1 + (round % ObjectFrames.countFor(65_536));
    const clusters = Array.from({ length: count }, (_, i) => noise(65_536 - (round % 3) * i, round * 16 + i));
    for (const [i, cluster] of clusters.entries()) frames.resize(i, cluster.length).set(cluster);
    expect(frames.ids(count)).toEqual(clusters.map((cluster) => objectId('blob', cluster)));
  }
});

test('ObjectFrames.countFor keeps the data within a megabyte', () => {
  expect(ObjectFrames.countFor(2 * 1024 * 1024)).toBe(1);
  expect(ObjectFrames.countFor(65_536)).toBeGreaterThanOrEqual(1);
  expect(ObjectFrames.countFor(0)).toBeGreaterThanOrEqual(1);
  expect(ObjectFrames.countFor(65_536) * 65_536).toBeLessThanOrEqual(1024 * 1024);
});
