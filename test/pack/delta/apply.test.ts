import fc from 'fast-check';
import { expect, test } from 'vitest';
import { applyDelta, deltaSizes } from '../../../pack/index.ts';
import { damage } from '../../objects/damage.ts';
import { mixed } from '../../objects/noise.ts';
import { copy, deltaOf, encodeDelta, resultOf, type Step, varint } from './encode-delta.ts';

const BASE = mixed(200_000, 1);

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc
    .tuple(
      fc.nat(BASE.length - 1),
      fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 70_000 })),
    )
    .map(([from, length]) => ({ copy: from, length: Math.min(length, BASE.length - from) })),
  fc.uint8Array({ minLength: 1, maxLength: 300 }).map((insert) => ({ insert })),
);

test('applyDelta makes what the steps of the delta say', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 12 }), (steps) => {
      const delta = deltaOf(BASE, steps);
      const expected = resultOf(BASE, steps);
      expect(deltaSizes(delta)).toMatchObject({ base: BASE.length, result: expected.length });
      expect(Buffer.compare(applyDelta(BASE, delta), expected)).toBe(0);
    }),
  );
});

test.each([
  [0, 0x10000],
  [255, 1],
  [256, 256],
  [0xff00, 0xff],
  [0x10000, 0x10000],
  [0x10001, 0x10001],
  [BASE.length - 1, 1],
  [0, BASE.length],
])('applyDelta copies at %i so many bytes: %i', (from, length) => {
  const steps = [{ copy: from, length }];
  expect(Buffer.compare(applyDelta(BASE, deltaOf(BASE, steps)), resultOf(BASE, steps))).toBe(0);
});

test('applyDelta copies 16 MiB again and again when the delta says so', () => {
  const base = Buffer.alloc(2 ** 24 - 2 ** 16, 7);
  // Two bytes of delta for 16 MiB of result is the most that the format gives.
  const steps = Array.from({ length: 6 }, () => ({ copy: 0, length: base.length }));
  const result = applyDelta(base, deltaOf(base, steps));
  expect(result).toHaveLength(6 * base.length);
  expect(result.subarray(-1)[0]).toBe(7);
});

test('applyDelta makes nothing out of nothing', () => {
  expect(applyDelta(Buffer.alloc(0), Buffer.of(0, 0))).toHaveLength(0);
});

test('applyDelta takes views into larger buffers', () => {
  const steps = [{ copy: 5, length: 10 }, { insert: Buffer.from('abc') }];
  const base = BASE.subarray(100, 200);
  const around = Buffer.concat([Buffer.from('xxx'), deltaOf(base, steps), Buffer.from('yyy')]);
  expect(applyDelta(base, around.subarray(3, -3))).toEqual(resultOf(base, steps));
});

const STEPS: readonly Step[] = [
  { copy: 1000, length: 70_000 },
  { insert: Buffer.from('some new bytes') },
  { copy: 0x10203, length: 0x102 },
];

test('applyDelta throws DAMAGED when the delta is cut anywhere', () => {
  const delta = deltaOf(BASE, STEPS);
  for (let length = 0; length < delta.length; length++)
    damage(() => applyDelta(BASE, delta.subarray(0, length)));
});

test.each([
  ['a copy that begins behind the base', encodeDelta(10, 1, [{ copy: 10, length: 1 }])],
  ['a copy that reaches behind the base', encodeDelta(10, 2, [{ copy: 9, length: 2 }])],
  ['a copy of 64 KiB of a short base', encodeDelta(10, 0x10000, [{ copy: 0, length: 0x10000 }])],
  ['a copy at 4 GiB', encodeDelta(10, 1, [{ copy: 2 ** 32 - 1, length: 1 }])],
  ['a copy without its offset', Buffer.of(10, 5, 0x8f)],
  ['a copy without its size', Buffer.of(10, 5, 0xf0)],
  ['an insert without its bytes', Buffer.of(10, 5, 5, 1, 2)],
  ['the reserved instruction', Buffer.of(10, 1, 0)],
  ['the reserved instruction behind the rest', Buffer.of(10, 1, 1, 65, 0)],
  ['a result that is too long', encodeDelta(10, 5, [{ copy: 0, length: 6 }])],
  ['an insert beyond the result', encodeDelta(10, 1, [{ insert: Buffer.of(1, 2) }])],
  ['a result that is too short', encodeDelta(10, 7, [{ copy: 0, length: 6 }])],
  ['no instructions', Buffer.of(10, 5)],
  ['a shorter base', encodeDelta(9, 1, [{ copy: 0, length: 1 }])],
  ['a longer base', encodeDelta(11, 1, [{ copy: 0, length: 1 }])],
  ['a result of 2 GiB', Buffer.concat([Buffer.of(10), varint(2 ** 31), copy(0, 10)])],
  ['a result of 2^53', Buffer.concat([Buffer.of(10), varint(2 ** 53), copy(0, 10)])],
  ['a result that never ends', Buffer.alloc(2000, 0xff)],
  ['a result of zeros that never ends', Buffer.alloc(2000, 0x80)],
  ['nothing', Buffer.alloc(0)],
])('applyDelta throws DAMAGED for %s', (_, delta) => {
  damage(() => applyDelta(Buffer.alloc(10, 1), delta));
});

test('applyDelta throws DAMAGED before it makes room for a result that no delta of this length can make', () => {
  const room = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 8; i++)
    damage(() =>
      applyDelta(Buffer.alloc(10), Buffer.concat([Buffer.of(10), varint(2 ** 29), Buffer.alloc(250, 0xff)])),
    );
  expect(process.memoryUsage().arrayBuffers - room).toBeLessThan(2 ** 29);
});

test('applyDelta throws DAMAGED or makes as many bytes as the delta says for any delta', () => {
  const delta = deltaOf(BASE, STEPS);
  fc.assert(
    fc.property(fc.nat(delta.length - 1), fc.nat(255), (at, value) => {
      const hostile = Buffer.from(delta);
      hostile[at] = value;
      try {
        expect(applyDelta(BASE, hostile)).toHaveLength(deltaSizes(hostile).result);
      } catch (error) {
        expect(error).toMatchObject({ code: 'DAMAGED' });
      }
    }),
    { numRuns: 1000 },
  );
});
