import { describe, expect, it } from 'vitest';
import { parseBitmapDirectory } from '../../../qcow2/meta/bitmap.ts';
import { encodeBitmap, encodeBitmapDirectory } from '../../../qcow2/meta/bitmap-encode.ts';
import { encodeExtension, parseExtensions } from '../../../qcow2/meta/extensions.ts';

describe('encodeBitmap', () => {
  it('is read back by the parser, one entry behind the other', () => {
    const rules = { clusterSize: 512, virtualSize: 2 ** 21 * 3, image: 'x' };
    const bitmaps = [
      { name: 'a', granularity: 512, auto: true, tableOffset: 1024, tableEntries: 3 },
      { name: 'bitmap zwölf', granularity: 2 ** 31, auto: false, tableOffset: 4096, tableEntries: 1 },
    ];
    const parsed = parseBitmapDirectory(Buffer.concat(bitmaps.map(encodeBitmap)), 2, rules);
    expect(parsed).toEqual(
      bitmaps.map((bitmap) => ({ ...bitmap, inUse: false, extraDataCompatible: false, extraDataSize: 0 })),
    );
  });
});

describe('encodeBitmapDirectory', () => {
  it('is read back by the parser of header extensions', () => {
    const data = encodeBitmapDirectory({ count: 2, size: 64, offset: 2 ** 40 });
    expect(parseExtensions(encodeExtension(0x23852875, data), 'x').bitmaps).toEqual({
      count: 2,
      directorySize: 64n,
      directoryOffset: 2n ** 40n,
    });
  });
});
