import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodePackHeader, PACK_HEADER_BYTES, parsePackHeader } from '../../pack/index.ts';
import { damage, failure } from '../objects/damage.ts';

test('parsePackHeader is the inverse of encodePackHeader', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (entries) => {
      const header = encodePackHeader(entries);
      expect(header).toHaveLength(PACK_HEADER_BYTES);
      expect(parsePackHeader(header)).toBe(entries);
    }),
  );
});

test('parsePackHeader throws DAMAGED when the signature is another', () => {
  for (let at = 0; at < 4; at++) {
    const header = encodePackHeader(1);
    header[at]! ^= 1;
    damage(() => parsePackHeader(header));
  }
});

test.each([0, 1, 4, 2 ** 32 - 1])('parsePackHeader throws UNSUPPORTED for version %i', (version) => {
  const header = encodePackHeader(1);
  header.writeUInt32BE(version, 4);
  expect(failure(() => parsePackHeader(header))).toMatchObject({ code: 'UNSUPPORTED', data: { version } });
});
