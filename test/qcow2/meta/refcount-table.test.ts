import { describe, expect, it } from 'vitest';
import { refcountTableEntry } from '../../../qcow2/meta/refcount-table.ts';

const entry = (hex: string, clusterSize = 65536) =>
  refcountTableEntry(Buffer.from(`0000000000000000${hex}`, 'hex'), 1, clusterSize);

describe('an entry of a refcount table', () => {
  it('is the offset of a block, or zero', () => {
    expect(entry('0000000000030000')).toEqual({ offset: 0x30000, reserved: false, aligned: true });
    expect(entry('0000000000000000')).toEqual({ offset: 0, reserved: false, aligned: true });
  });

  it('tells bits that must be zero', () => {
    for (let bit = 0; bit < 9; bit++) {
      const hex = (0x30000 + 2 ** bit).toString(16).padStart(16, '0');
      expect(entry(hex)).toEqual({ offset: 0x30000, reserved: true, aligned: true });
    }
  });

  it('tells offsets that no block has', () => {
    expect(entry('0000000000030200').aligned).toBe(false);
    expect(entry('0000000000030200', 512).aligned).toBe(true);
    // Beyond 2^53 a double cannot hold the offset, but that it is not aligned must not be lost.
    expect(entry('ffffffffffff0200').aligned).toBe(false);
    expect(entry('ffffffffffff0000').offset).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
  });
});
