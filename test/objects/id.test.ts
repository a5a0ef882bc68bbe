import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ID_BYTES, ID_DIGITS, idFromBytes, idToBytes, isId, NULL_ID } from '../../objects/index.ts';
import { damage } from './damage.ts';

test('idFromBytes is the inverse of idToBytes at any offset', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: ID_BYTES, maxLength: ID_BYTES }),
      fc.nat(40),
      fc.nat(40),
      (bytes, before, behind) => {
        const around = Buffer.concat([Buffer.alloc(before, 1), bytes, Buffer.alloc(behind, 2)]);
        const id = idFromBytes(around, before);
        expect(isId(id)).toBe(true);
        expect(idToBytes(id)).toEqual(Buffer.from(bytes));
      },
    ),
  );
});

test.each([0, 1, 31])('idFromBytes throws DAMAGED when %i bytes are left', (left) => {
  damage(() => idFromBytes(Buffer.alloc(40), 40 - left));
});

test('isId is true for 64 lower-case hex digits and nothing else', () => {
  expect(isId('0123456789abcdef'.repeat(4))).toBe(true);
  for (const text of [
    '',
    'a'.repeat(63),
    'a'.repeat(65),
    'A'.repeat(64),
    'g'.repeat(64),
    `${'a'.repeat(64)}\n`,
  ])
    expect(isId(text)).toBe(false);
});

test('NULL_ID is an id of zeros', () => {
  expect(isId(NULL_ID)).toBe(true);
  expect(NULL_ID).toHaveLength(ID_DIGITS);
  expect(idToBytes(NULL_ID)).toEqual(Buffer.alloc(ID_BYTES));
});
