import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compressedOffsetLimit,
  writeCompressedEntry,
  writeStandardEntry,
  writeSubclusterBits,
} from '../../../qcow2/meta/l2-encode.ts';
import { compressedRange, entryOffset, extendedKind, standardKind } from '../../../qcow2/meta/l2-entry.ts';

const bits = fc.integer({ min: 9, max: 21 });

describe('writeStandardEntry', () => {
  it('is read back by the parser', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 43 }), fc.boolean(), fc.boolean(), (place, copied, zero) => {
        const table = Buffer.alloc(24, 0xff);
        writeStandardEntry(table, 8, place * 512, { copied, zero });
        const [high, low] = [table.readUInt32BE(8), table.readUInt32BE(12)];
        expect(entryOffset(high, low)).toBe(place * 512);
        expect(standardKind(high, low, false)).toBe(zero ? 'zero' : 'data');
        expect(high >>> 31 === 1).toBe(copied);
        expect(table.readBigUInt64BE(0)).toBe(2n ** 64n - 1n);
        expect(table.readBigUInt64BE(16)).toBe(2n ** 64n - 1n);
      }),
    );
  });
});

describe('writeCompressedEntry', () => {
  it('is read back by the parser as the sectors that the stream touches', () => {
    const entry = bits.chain((clusterBits) =>
      fc.record({
        clusterBits: fc.constant(clusterBits),
        // The end, rounded up to a sector, must be exact too.
        offset: fc.integer({ min: 512, max: Math.min(compressedOffsetLimit(clusterBits), 2 ** 52) - 1 }),
        length: fc.integer({ min: 1, max: 2 ** clusterBits }),
      }),
    );
    fc.assert(
      fc.property(entry, ({ clusterBits, offset, length }) => {
        const table = Buffer.alloc(8);
        writeCompressedEntry(table, 0, clusterBits, offset, length);
        const [high, low] = [table.readUInt32BE(0), table.readUInt32BE(4)];
        expect(extendedKind(high, low, false)).toBe('compressed');
        expect(high >>> 31).toBe(0);
        const range = compressedRange(high, low, clusterBits);
        expect(range.offset).toBe(offset);
        expect(range.length).toBeGreaterThanOrEqual(length);
        expect(range.length).toBeLessThan(length + 512);
        expect((offset + range.length) % 512).toBe(0);
      }),
      { examples: [[{ clusterBits: 9, offset: 1023, length: 512 }]] },
    );
  });
});

describe('writeSubclusterBits', () => {
  it('puts the allocated bits below the zero bits, whatever their sign', () => {
    const table = Buffer.alloc(32);
    writeSubclusterBits(table, 16, 0x8000_0001, 0x7000_0000);
    expect(table.readUInt32BE(24)).toBe(0x7000_0000);
    expect(table.readUInt32BE(28)).toBe(0x8000_0001);
    writeSubclusterBits(table, 16, 0xffff_ffff | 0, 0);
    expect(table.readUInt32BE(28)).toBe(0xffff_ffff);
  });
});
