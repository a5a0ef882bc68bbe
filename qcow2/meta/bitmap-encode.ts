import * as layout from './bitmap-layout.ts';

/** Table entry of a cluster of bits that are all one and have no place in the file. */
export const ALL_ONES = 1n;

/** A bitmap whose bits are in the file. */
export interface NewBitmap {
  /** 1 to 1023 bytes as UTF-8. */
  readonly name: string;
  /** Guest bytes for one bit, a power of two from 512 to 2^31. */
  readonly granularity: number;
  /** Every writer of the image must keep it up. */
  readonly auto: boolean;
  /** Host bytes. */
  readonly tableOffset: number;
  readonly tableEntries: number;
}

/** Encodes one entry of the directory with its padding. */
export function encodeBitmap(bitmap: NewBitmap): Uint8Array {
  const name = new TextEncoder().encode(bitmap.name);
  const bytes = new Uint8Array(
    Math.ceil((layout.ENTRY_FIXED_BYTES + name.length) / layout.ENTRY_ALIGNMENT) * layout.ENTRY_ALIGNMENT,
  );
  const view = new DataView(bytes.buffer);
  view.setBigUint64(layout.TABLE_OFFSET_AT, BigInt(bitmap.tableOffset));
  view.setUint32(layout.TABLE_SIZE_AT, bitmap.tableEntries);
  view.setUint32(layout.FLAGS_AT, bitmap.auto ? layout.FLAG_AUTO : 0);
  view.setUint8(layout.TYPE_AT, layout.TYPE_DIRTY_TRACKING);
  view.setUint8(layout.GRANULARITY_BITS_AT, Math.log2(bitmap.granularity));
  view.setUint16(layout.NAME_SIZE_AT, name.length);
  bytes.set(name, layout.ENTRY_FIXED_BYTES);
  return bytes;
}

/** Where the directory is. */
export interface BitmapDirectory {
  readonly count: number;
  /** Bytes. */
  readonly size: number;
  /** Host bytes. */
  readonly offset: number;
}

/** Encodes the data of the header extension. */
export function encodeBitmapDirectory({ count, size, offset }: BitmapDirectory): Uint8Array {
  const bytes = new Uint8Array(layout.EXTENSION_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(layout.COUNT_AT, count);
  view.setBigUint64(layout.DIRECTORY_SIZE_AT, BigInt(size));
  view.setBigUint64(layout.DIRECTORY_OFFSET_AT, BigInt(offset));
  return bytes;
}
