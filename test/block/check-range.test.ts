import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkRange } from '../../block/index.ts';

const number = fc.oneof(
  fc.nat(100),
  fc.maxSafeNat(),
  fc.double(),
  fc.constantFrom(-1, -0, 0.5, 2 ** 53, Number.MAX_SAFE_INTEGER, Number.NaN, Number.POSITIVE_INFINITY),
);

/** The rule in exact arithmetic, where no sum overflows. */
function isInside(size: number, offset: number, length: number): boolean {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length)) return false;
  return offset >= 0 && length >= 0 && BigInt(offset) + BigInt(length) <= BigInt(size);
}

test('checkRange throws USAGE exactly when the range leaves the disk', () => {
  fc.assert(
    fc.property(fc.oneof(fc.nat(100), fc.maxSafeNat()), number, number, (size, offset, length) => {
      if (isInside(size, offset, length)) checkRange(size, offset, length);
      else expect(() => checkRange(size, offset, length)).toThrow(expect.objectContaining({ code: 'USAGE' }));
    }),
    { numRuns: 2000 },
  );
});

test('checkRange names range and size when it throws', () => {
  expect(() => checkRange(10, 8, 4)).toThrow('range 8+4 is outside of a disk of 10 bytes');
});
