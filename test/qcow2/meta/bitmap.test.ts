import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import {
  type BitmapEntry,
  bitmapBytes,
  bitmapFlaw,
  directoryRange,
  parseBitmapDirectory,
} from '../../../qcow2/meta/bitmap.ts';
import { bitmapCluster } from '../../../qcow2/meta/bitmap-table.ts';

const RULES = { clusterSize: 4096, virtualSize: 2 ** 30, image: 'disk.qcow2' };

/** A directory entry; 64 KiB granules of 1 GiB take one cluster. */
function entry(name: string, change: (bytes: Buffer) => void = () => {}, extra = 0): Buffer {
  const nameBytes = Buffer.from(name);
  const bytes = Buffer.alloc(Math.ceil((24 + extra + nameBytes.length) / 8) * 8);
  bytes.writeBigUInt64BE(8192n, 0);
  bytes.writeUInt32BE(1, 8);
  bytes.writeUInt32BE(2, 12);
  bytes.writeUInt8(1, 16);
  bytes.writeUInt8(16, 17);
  bytes.writeUInt16BE(nameBytes.length, 18);
  bytes.writeUInt32BE(extra, 20);
  nameBytes.copy(bytes, 24 + extra);
  change(bytes);
  return bytes;
}

describe('parseBitmapDirectory', () => {
  it('reads entries with names of any length and extra data', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' }), {
          minLength: 1,
          maxLength: 9,
        }),
        fc.nat({ max: 40 }),
        (names, extra) => {
          fc.pre(!names.join('').includes('\0'));
          const bytes = Buffer.concat(names.map((name) => entry(name, undefined, extra)));
          const entries = parseBitmapDirectory(bytes, names.length, RULES);
          expect(entries.map(({ name }) => name)).toEqual(names);
          expect(entries[0]).toMatchObject({
            ...{ granularity: 65536, tableOffset: 8192, tableEntries: 1, extraDataSize: extra },
            ...{ inUse: false, auto: true, extraDataCompatible: false },
          });
        },
      ),
    );
  });

  it('takes a bitmap that was not saved at any size', () => {
    const inUse = entry('one', (bytes) => {
      bytes.writeUInt32BE(1, 12);
      bytes.writeUInt32BE(77, 8);
    });
    expect(parseBitmapDirectory(inUse, 1, RULES)[0]).toMatchObject({ inUse: true, tableEntries: 77 });
  });

  it.each([
    ['bitmap_table_offset = 0', (b: Buffer) => b.writeBigUInt64BE(0n, 0)],
    ['bitmap_table_offset = 1', (b: Buffer) => b.writeBigUInt64BE(1n, 0)],
    ['bitmap_table_offset = 4095', (b: Buffer) => b.writeBigUInt64BE(4095n, 0)],
    ['bitmap_table_offset = 9007199254740992', (b: Buffer) => b.writeBigUInt64BE(2n ** 53n, 0)],
    ['bitmap_table_size = 0', (b: Buffer) => b.writeUInt32BE(0, 8)],
    ['bitmap_table_size = 2 is not 1', (b: Buffer) => b.writeUInt32BE(2, 8)],
    ['bitmap_table_size = 4294967295', (b: Buffer) => b.writeUInt32BE(2 ** 32 - 1, 8)],
    ['flags = 8', (b: Buffer) => b.writeUInt32BE(8, 12)],
    ['flags = 4294967295', (b: Buffer) => b.writeUInt32BE(2 ** 32 - 1, 12)],
    ['type = 0', (b: Buffer) => b.writeUInt8(0, 16)],
    ['type = 2', (b: Buffer) => b.writeUInt8(2, 16)],
    ['granularity_bits = 8', (b: Buffer) => b.writeUInt8(8, 17)],
    ['granularity_bits = 32', (b: Buffer) => b.writeUInt8(32, 17)],
    ['granularity_bits = 255', (b: Buffer) => b.writeUInt8(255, 17)],
    ['bitmap_table_size = 1 is not 64', (b: Buffer) => b.writeUInt8(9, 17)],
    ['name_size = 0', (b: Buffer) => b.writeUInt16BE(0, 18)],
    ['name_size = 1024', (b: Buffer) => b.writeUInt16BE(1024, 18)],
    ['ends within the bitmap directory entry 0', (b: Buffer) => b.writeUInt16BE(1023, 18)],
    ['ends within the bitmap directory entry 0', (b: Buffer) => b.writeUInt32BE(2 ** 32 - 1, 20)],
  ])('fails naming %s', (what, change) => {
    expect(() => parseBitmapDirectory(entry('one', change), 1, RULES)).toThrow(/^disk\.qcow2: /);
    expect(() => parseBitmapDirectory(entry('one', change), 1, RULES)).toThrow(what);
  });

  it('fails when two names are one, or bytes are left, or missing', () => {
    const two = Buffer.concat([entry('one'), entry('one')]);
    expect(() => parseBitmapDirectory(two, 2, RULES)).toThrow('two bitmaps have the name "one"');
    expect(() => parseBitmapDirectory(two, 1, RULES)).toThrow('has 64 bytes, its entries 32');
    expect(() => parseBitmapDirectory(two, 3, RULES)).toThrow();
    expect(() => parseBitmapDirectory(two.subarray(0, 20), 1, RULES)).toThrow('ends within');
  });

  it('fails with one error and nothing else when bytes change at random', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: 63 }), fc.nat({ max: 255 })), { maxLength: 6 }),
        (changes) => {
          const bytes = Buffer.concat([entry('one'), entry('two')]);
          for (const [at, value] of changes) bytes[at] = value;
          try {
            parseBitmapDirectory(bytes, 2, RULES);
          } catch (error) {
            expect(error).toBeInstanceOf(ImgstoreError);
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});

describe('directoryRange', () => {
  const good = { count: 1, directorySize: 32n, directoryOffset: 4096n };

  it('is where the extension says', () => {
    expect(directoryRange(good, RULES, 8192)).toEqual({ offset: 4096, length: 32 });
    expect(directoryRange(good, RULES, 4096 + 32)).toEqual({ offset: 4096, length: 32 });
  });

  it.each([
    ['bitmap_directory_size = 0', { directorySize: 0n }],
    ['bitmap_directory_size = 32 is too small for 2', { count: 2 }],
    ['bitmap_directory_size = 67107841 is above', { directorySize: 67107841n }],
    ['bitmap_directory_size = 18446744073709551615', { directorySize: 2n ** 64n - 1n }],
    ['bitmap_directory_offset = 0', { directoryOffset: 0n }],
    ['bitmap_directory_offset = 4097', { directoryOffset: 4097n }],
    ['bitmap_directory_offset = 8192 leaves', { directoryOffset: 8192n }],
    ['bitmap_directory_offset = 18446744073709547520 leaves', { directoryOffset: 2n ** 64n - 4096n }],
  ])('fails naming %s', (what, change) => {
    expect(() => directoryRange({ ...good, ...change }, RULES, 8192)).toThrow(what);
  });
});

describe('bitmapFlaw', () => {
  const good: BitmapEntry = {
    ...{ name: 'one', granularity: 65536, tableOffset: 4096, tableEntries: 1, extraDataSize: 0 },
    ...{ inUse: false, auto: true, extraDataCompatible: false },
  };

  it.each([
    [undefined, {}, true],
    ['inconsistent', {}, false],
    ['in-use', { inUse: true }, true],
    ['disabled', { auto: false }, true],
    ['unknown-extra-data', { extraDataSize: 1 }, true],
    [undefined, { extraDataSize: 1, extraDataCompatible: true }, true],
  ])('is %s for %o', (flaw, change, consistent) => {
    expect(bitmapFlaw({ ...good, ...change }, consistent)).toBe(flaw);
  });
});

describe('bitmapCluster', () => {
  it.each([
    [0n, 'zeros'],
    [1n, 'ones'],
    [4096n, 4096],
    [2n ** 52n + 4096n, 2 ** 52 + 4096],
    [4097n, undefined],
    [512n, undefined],
    [2n, undefined],
    [256n, undefined],
    [1n << 56n, undefined],
    [1n << 63n, undefined],
    [0x00ff_ffff_ffff_f000n, undefined],
    [2n ** 64n - 1n, undefined],
  ] as const)('takes 0x%x for %s', (value, expected) => {
    const high = Number(value >> 32n);
    expect(bitmapCluster(high, Number(value & 0xffff_ffffn), 4096)).toBe(expected);
  });
});

describe('bitmapBytes', () => {
  it('counts the last granule and the last byte whole', () => {
    expect(bitmapBytes(0, 512)).toBe(0);
    expect(bitmapBytes(512, 65536)).toBe(1);
    expect(bitmapBytes(8 * 65536, 65536)).toBe(1);
    expect(bitmapBytes(8 * 65536 + 512, 65536)).toBe(2);
  });
});
