import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isZero } from '../../block/index.ts';

/** Lengths around every border inside of isZero: its head of 16 bytes, its pages of 64 KiB. */
const length = fc.oneof(
  fc.nat(200_000),
  fc.constantFrom(0, 1, 15, 16, 17, 65535, 65536, 65537, 65551, 65552, 65553, 131088, 131089),
);

test('isZero is true when every byte is zero, whatever lies around them', () => {
  fc.assert(
    fc.property(length, fc.nat(7), (size, shift) => {
      const around = new Uint8Array(size + 16).fill(0xff);
      const bytes = around.subarray(shift, shift + size).fill(0);
      expect(isZero(bytes)).toBe(true);
    }),
  );
});

test('isZero is false when a single bit of a single byte is set', () => {
  fc.assert(
    fc.property(length, fc.nat(), fc.nat(7), (size, place, bit) => {
      fc.pre(size > 0);
      const bytes = new Uint8Array(size);
      bytes[place % size] = 1 << bit;
      expect(isZero(bytes)).toBe(false);
    }),
  );
});

test('isZero is false when only the first or the last byte is set', () => {
  fc.assert(
    fc.property(length, fc.boolean(), (size, first) => {
      fc.pre(size > 0);
      const bytes = new Uint8Array(size);
      bytes[first ? 0 : size - 1] = 1;
      expect(isZero(bytes)).toBe(false);
    }),
  );
});
