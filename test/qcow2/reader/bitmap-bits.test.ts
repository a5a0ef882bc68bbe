import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dirtyRanges } from '../../../qcow2/reader/bitmap-bits.ts';

describe('dirtyRanges', () => {
  it('finds what a look at every bit finds', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constantFrom(0, 0xff), fc.nat({ max: 255 })), { minLength: 1, maxLength: 12 }),
        fc.constantFrom(512, 65536, 2 ** 31),
        fc.nat({ max: 95 }),
        fc.nat({ max: 511 }),
        (bytes, granularity, missing, cut) => {
          const bits = Uint8Array.from(bytes);
          const length = Math.max(1, bits.length * 8 - missing) * granularity - cut;
          const expected: { offset: number; length: number }[] = [];
          for (let bit = 0; bit * granularity < length; bit++) {
            if (((bits[bit >> 3]! >> (bit & 7)) & 1) === 0) continue;
            const offset = 1000 + bit * granularity;
            const size = Math.min(granularity, length - bit * granularity);
            const last = expected.at(-1);
            if (last !== undefined && last.offset + last.length === offset) last.length += size;
            else expected.push({ offset, length: size });
          }
          expect([...dirtyRanges(bits, 1000, length, granularity)]).toEqual(expected);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
