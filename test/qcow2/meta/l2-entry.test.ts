import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compressedRange,
  copiedEntry,
  entryOffset,
  extendedKind,
  standardKind,
  subclusterKind,
} from '../../../qcow2/meta/l2-entry.ts';

const high = (entry: bigint) => Number(entry >> 32n);
const low = (entry: bigint) => Number(entry & 0xffffffffn);
const entry = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

describe('entryOffset', () => {
  it('is bits 9 to 55 for every entry', () => {
    fc.assert(
      fc.property(entry, (value) => {
        expect(entryOffset(high(value), low(value))).toBe(Number(value & 0x00ff_ffff_ffff_fe00n));
      }),
    );
  });

  it('gives back the offset of copiedEntry', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 44 - 1 }), (sector) => {
        const value = copiedEntry(sector * 512);
        expect(entryOffset(high(value), low(value))).toBe(sector * 512);
        expect(standardKind(high(value), low(value), false)).toBe('data');
      }),
    );
  });
});

describe('standardKind', () => {
  it.each([
    [0n, false, 'unallocated'],
    [1n, false, 'zero'],
    [1n | (1n << 63n) | 65536n, false, 'zero'],
    [1n << 62n, false, 'compressed'],
    [(1n << 62n) | 1n, false, 'compressed'],
    [65536n, false, 'data'],
    [1n << 63n, false, 'unallocated'],
    [1n << 63n, true, 'data'],
    [0n, true, 'unallocated'],
    // Reserved bits 1-8 and 56-61 mean nothing.
    [0x1fen | (0x3fn << 56n), false, 'unallocated'],
  ] as const)('of %s with an external data file %s is %s', (value, external, kind) => {
    expect(standardKind(high(value), low(value), external)).toBe(kind);
  });
});

describe('extendedKind', () => {
  it('takes no notice of bit 0', () => {
    expect(extendedKind(0, 1, false)).toBe('unallocated');
    expect(extendedKind(0, 65537, false)).toBe('data');
  });
});

describe('subclusterKind', () => {
  it('reads the two bits of each subcluster', () => {
    expect(subclusterKind('data', 0x8000_0000, 1, 31)).toBe('zero');
    expect(subclusterKind('data', 0x8000_0000, 1, 0)).toBe('data');
    expect(subclusterKind('data', 0x8000_0000, 1, 5)).toBe('unallocated');
    expect(subclusterKind('unallocated', 2, 0, 1)).toBe('zero');
  });

  it('is undefined when bits contradict each other', () => {
    expect(subclusterKind('data', 0x8000_0000, 0x8000_0000, 0)).toBeUndefined();
    expect(subclusterKind('unallocated', 0, 1, 5)).toBeUndefined();
  });
});

describe('compressedRange', () => {
  it('splits offset and sectors as the specification says for every cluster size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 9, max: 21 }), entry, (clusterBits, value) => {
        const split = BigInt(62 - (clusterBits - 8));
        const described = value & ((1n << 62n) - 1n);
        const offset = described & ((1n << split) - 1n);
        fc.pre(offset < 2n ** 53n);
        const sectors = (described >> split) + 1n;
        expect(compressedRange(high(value), low(value), clusterBits)).toEqual({
          offset: Number(offset),
          length: Number(sectors * 512n - (offset & 511n)),
        });
      }),
      { numRuns: 1000 },
    );
  });

  it('stays above 2^53 when the offset does', () => {
    const value = (1n << 62n) | (1n << 60n);
    expect(compressedRange(high(value), low(value), 9).offset).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
  });
});
