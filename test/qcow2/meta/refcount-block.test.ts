import { describe, expect, it } from 'vitest';
import { maxRefcount, refcountReader, refcountsPerBlock } from '../../../qcow2/meta/refcount-block.ts';

describe('a refcount block', () => {
  it.each([
    [0, [1, 0, 1, 1, 0, 0, 0, 1, 0, 1], '8d02'],
    [1, [1, 2, 3, 0, 2], '3902'],
    [2, [15, 1, 7], '1f07'],
    [3, [255, 0, 9], 'ff0009'],
    [4, [1, 65535], '0001ffff'],
    [5, [2, 2 ** 32 - 1], '00000002ffffffff'],
    [6, [3, 2 ** 32 + 5], '0000000000000003' + '0000000100000005'],
  ] as const)('of order %i is read from the lowest bits on, bytes big-endian', (order, refcounts, hex) => {
    const block = Buffer.from(hex, 'hex');
    expect(refcounts.map((_, index) => refcountReader(order)(block, index))).toEqual(refcounts);
  });

  it('holds as many refcounts as fit', () => {
    expect([0, 1, 2, 3, 4, 5, 6].map((order) => refcountsPerBlock(order, 512))).toEqual([
      4096, 2048, 1024, 512, 256, 128, 64,
    ]);
    expect(refcountsPerBlock(0, 2 ** 21)).toBe(2 ** 24);
  });

  it('has a largest refcount for each width', () => {
    expect([0, 1, 2, 3, 4, 5].map(maxRefcount)).toEqual([1, 3, 15, 255, 65535, 2 ** 32 - 1]);
    expect(maxRefcount(6)).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
  });

  it('keeps what is above 2^53 above it', () => {
    expect(refcountReader(6)(Buffer.alloc(8, 0xff), 0)).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
  });
});
