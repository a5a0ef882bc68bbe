import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ObjectType } from '../../objects/index.ts';
import { encodeEntryHead, encodeOfsDeltaHead, parseEntryHead } from '../../pack/index.ts';
import { damage } from '../objects/damage.ts';
import { deltaHead } from './craft-pack.ts';

const anyType = fc.constantFrom<ObjectType>('blob', 'tree', 'commit', 'tag');
const anySize = fc.oneof(fc.nat(5000), fc.nat(), fc.maxSafeNat());

test('parseEntryHead is the inverse of encodeEntryHead for any type and size', () => {
  fc.assert(
    fc.property(anyType, anySize, fc.uint8Array({ maxLength: 5 }), (type, size, behind) => {
      const head = encodeEntryHead(type, size);
      expect(parseEntryHead(Buffer.concat([head, behind]))).toEqual({
        kind: type,
        size,
        length: head.length,
      });
    }),
    {
      examples: [15, 16, 2047, 2048, 2 ** 31, 2 ** 32, 2 ** 53 - 1].map((size) => [
        'blob',
        size,
        new Uint8Array(),
      ]),
    },
  );
});

test('parseEntryHead reads the distance of a delta by offset', () => {
  const distance = fc.oneof(fc.nat(300), fc.nat(), fc.maxSafeNat());
  fc.assert(
    fc.property(anySize, distance, (size, back) => {
      const head = deltaHead(size, back);
      expect(parseEntryHead(head)).toEqual({ kind: 'ofs-delta', size, length: head.length, distance: back });
    }),
    // Where the encoding of git gains a byte.
    { examples: [127, 128, 16_511, 16_512, 2_113_663, 2_113_664].map((back) => [0, back]) },
  );
});

/** The distances at which the encoding gains a byte: 2^7, 2^7 + 2^14, 2^7 + 2^14 + 2^21, … (git: gitformat-pack). */
const GAINS = Array.from({ length: 7 }, (_, i) =>
  Array.from({ length: i + 1 }, (_each, j) => 128 ** (j + 1)).reduce((sum, each) => sum + each),
);

test('parseEntryHead is the inverse of encodeOfsDeltaHead for any size and distance', () => {
  const distance = fc.oneof(
    fc.nat(300),
    fc.nat(),
    fc.integer({ min: 2 ** 31, max: 2 ** 40 }),
    fc.maxSafeNat(),
  );
  fc.assert(
    fc.property(anySize, distance, fc.uint8Array({ maxLength: 5 }), (size, back, behind) => {
      const head = encodeOfsDeltaHead(size, back);
      expect(head).toEqual(deltaHead(size, back));
      expect(parseEntryHead(Buffer.concat([head, behind]))).toEqual({
        kind: 'ofs-delta',
        size,
        length: head.length,
        distance: back,
      });
    }),
    {
      numRuns: 1000,
      examples: [...GAINS, ...GAINS.map((gain) => gain - 1), 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1].map(
        (back) => [20, back, new Uint8Array()],
      ),
    },
  );
});

test('encodeOfsDeltaHead gains a byte where the distances of fewer bytes are used up', () => {
  for (const [i, gain] of GAINS.entries()) {
    expect(encodeOfsDeltaHead(1, gain - 1)).toHaveLength(1 + i + 1);
    expect(encodeOfsDeltaHead(1, gain)).toHaveLength(1 + i + 2);
  }
});

test.each([
  ['nothing', 0, [0x00]],
  ['127', 127, [0x7f]],
  ['128', 128, [0x80, 0x00]],
  ['16 511', 16_511, [0xff, 0x7f]],
  ['16 512', 16_512, [0x80, 0x80, 0x00]],
  ['4 GiB', 2 ** 32, [0x8e, 0xfe, 0xfe, 0xff, 0x00]],
  ['5 GiB and a byte', 5 * 2 ** 30 + 1, [0x92, 0xfe, 0xfe, 0xff, 0x01]],
])('encodeOfsDeltaHead writes a distance of %s', (_, back, bytes) => {
  expect([...encodeOfsDeltaHead(5, back)]).toEqual([0x65, ...bytes]);
});

test('parseEntryHead reads the base of a delta by id', () => {
  const base = 'ab'.repeat(32);
  expect(parseEntryHead(deltaHead(1000, base))).toEqual({ kind: 'ref-delta', size: 1000, length: 34, base });
});

test('parseEntryHead throws DAMAGED when a head is cut anywhere', () => {
  for (const head of [
    encodeEntryHead('blob', 2 ** 40),
    deltaHead(2 ** 20, 2 ** 30),
    deltaHead(5, 'cd'.repeat(32)),
  ]) {
    for (let length = 0; length < head.length; length++)
      damage(() => parseEntryHead(head.subarray(0, length)));
  }
});

test.each([0, 5])('parseEntryHead throws DAMAGED for the reserved type %i', (type) => {
  expect(damage(() => parseEntryHead(Buffer.of((type << 4) | 3))).message).toContain(`type ${type}`);
});

test.each([
  ['a size beyond 2^53', [0xbf, ...Array<number>(7).fill(0xff), 0x7f]],
  ['a size that never ends', Array<number>(42).fill(0xbf)],
  ['a size of zeros that never ends', [0xb0, ...Array<number>(41).fill(0x80)]],
  ['a distance beyond 2^53', [0x60, ...Array<number>(8).fill(0xff), 0x7f]],
  ['a distance that never ends', [0x60, ...Array<number>(41).fill(0x80)]],
])('parseEntryHead throws DAMAGED for %s', (_, bytes) => {
  damage(() => parseEntryHead(Buffer.from(bytes)));
});

test('parseEntryHead throws DAMAGED or gives a head within the bytes for any bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
      try {
        const head = parseEntryHead(bytes);
        expect(head.length).toBeLessThanOrEqual(bytes.length);
        expect(Number.isSafeInteger(head.size) && head.size >= 0).toBe(true);
        if (head.distance !== undefined) expect(Number.isSafeInteger(head.distance)).toBe(true);
      } catch (error) {
        expect(error).toMatchObject({ code: 'DAMAGED' });
      }
    }),
    { numRuns: 2000 },
  );
});
