import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refcountReader } from '../../../qcow2/meta/refcount-block.ts';
import { fillRefcounts } from '../../../qcow2/meta/refcount-encode.ts';

describe('fillRefcounts', () => {
  it.each([0, 1, 2, 3, 4, 5, 6])('sets a range of refcounts of order %i and no others', (order) => {
    const perBlock = (512 * 8) / 2 ** order;
    const most = Math.min(2 ** (2 ** order) - 1, 2 ** 32 - 1);
    const read = refcountReader(order);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: perBlock }),
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 0, max: most }),
        fc.integer({ min: 0, max: most }),
        (from, length, before, value) => {
          const to = Math.min(from + length, perBlock);
          const block = Buffer.alloc(512);
          fillRefcounts(order, block, 0, perBlock, before);
          fillRefcounts(order, block, from, to, value);
          for (let i = 0; i < perBlock; i++) {
            expect(read(block, i)).toBe(i >= from && i < to ? value : before);
          }
        },
      ),
    );
  });
});
