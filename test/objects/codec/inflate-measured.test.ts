import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { inflateMeasured } from '../../../objects/index.ts';
import { damage } from '../damage.ts';

test('inflateMeasured tells where a stream ends whatever lies behind it', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 5000 }),
      fc.integer({ min: 0, max: 9 }),
      fc.uint8Array({ maxLength: 200 }),
      (data, level, behind) => {
        const stream = deflateSync(data, { level });
        const made = inflateMeasured(Buffer.concat([stream, behind]), data.length);
        expect(Buffer.from(made.data).equals(data)).toBe(true);
        expect(made.length).toBe(stream.length);
      },
    ),
  );
});

test('inflateMeasured refuses streams that are broken, cut short, or hold more or less', () => {
  const stream = deflateSync(Buffer.alloc(1000, 7));
  for (const size of [999, 1001, 2 ** 40]) damage(() => inflateMeasured(stream, size));
  damage(() => inflateMeasured(stream.subarray(0, -1), 1000));
  damage(() => inflateMeasured(Buffer.alloc(10), 10));
});
