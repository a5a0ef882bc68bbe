import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { encodeExtension, parseExtensions } from '../../../qcow2/meta/extensions.ts';

const BACKING_FORMAT = 0xe2792aca;
const BITMAPS = 0x23852875;
const DATA_FILE = 0x44415441;
const CRYPTO = 0x0537be77;

function bitmaps(count: number): Uint8Array {
  const data = Buffer.alloc(24);
  data.writeUInt32BE(count, 0);
  data.writeBigUInt64BE(40n, 8);
  data.writeBigUInt64BE(65536n, 16);
  return encodeExtension(BITMAPS, data);
}

describe('parseExtensions', () => {
  it('reads each kind and keeps unknown types', () => {
    const crypto = Buffer.alloc(16);
    crypto.writeBigUInt64BE(65536n, 0);
    crypto.writeBigUInt64BE(2048n, 8);
    const area = Buffer.concat([
      encodeExtension(BACKING_FORMAT, Buffer.from('raw')),
      encodeExtension(0x12345678, Buffer.alloc(5)),
      encodeExtension(DATA_FILE, Buffer.from('disk.data')),
      encodeExtension(CRYPTO, crypto),
      bitmaps(3),
      encodeExtension(0, Buffer.alloc(0)),
      Buffer.alloc(100, 0xff),
    ]);
    const { list, ...known } = parseExtensions(area, 'x');
    expect(list.map(({ type }) => type)).toEqual([BACKING_FORMAT, 0x12345678, DATA_FILE, CRYPTO, BITMAPS]);
    const again = Buffer.concat(list.map(({ type, data }) => encodeExtension(type, data)));
    expect(again.equals(area.subarray(0, again.length))).toBe(true);
    expect(known).toEqual({
      backingFormat: 'raw',
      dataFile: 'disk.data',
      featureNames: [],
      bitmaps: { count: 3, directorySize: 40n, directoryOffset: 65536n },
      cryptoHeader: { offset: 65536n, length: 2048n },
      unknown: [{ type: 0x12345678, length: 5 }],
    });
  });

  it('ends with the area when no end mark is there', () => {
    expect(parseExtensions(encodeExtension(BACKING_FORMAT, Buffer.from('qcow2')), 'x').backingFormat).toBe(
      'qcow2',
    );
    expect(parseExtensions(new Uint8Array(0), 'x').unknown).toEqual([]);
  });

  it.each([
    ['an extension leaves the area', Buffer.from([1, 2, 3, 4, 0, 0, 0, 1])],
    ['a length is the largest', Buffer.from([1, 2, 3, 4, 255, 255, 255, 255, 0, 0])],
    ['the area ends within an extension', new Uint8Array(7)],
    ['the end mark has a length that leaves the area', Buffer.from([0, 0, 0, 0, 0, 0, 0, 1])],
    ['a format name is too long', encodeExtension(BACKING_FORMAT, Buffer.alloc(16, 'q'))],
    ['a data file name is too long', encodeExtension(DATA_FILE, Buffer.alloc(1024, 'q'))],
    ['bitmaps have the wrong size', encodeExtension(BITMAPS, Buffer.alloc(23))],
    ['there are no bitmaps', bitmaps(0)],
    ['there are too many bitmaps', bitmaps(65536)],
    ['the encryption pointer has the wrong size', encodeExtension(CRYPTO, Buffer.alloc(8))],
  ])('fails when %s', (_, area) => {
    expect(() => parseExtensions(area, 'x')).toThrow(ImgstoreError);
  });

  it('never fails in another way when bytes are random', () => {
    const type = fc.constantFrom(BACKING_FORMAT, BITMAPS, DATA_FILE, CRYPTO, 0x6803f857, 7);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(type, fc.uint8Array({ maxLength: 100 })), { maxLength: 5 }),
        fc.uint8Array({ maxLength: 20 }),
        (parts, rest) => {
          const area = Buffer.concat([...parts.map(([kind, data]) => encodeExtension(kind, data)), rest]);
          try {
            parseExtensions(area, 'x');
          } catch (error) {
            expect(error).toBeInstanceOf(ImgstoreError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
