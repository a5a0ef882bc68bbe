import { counted } from '../../errors/index.ts';
import * as layout from './bitmap-layout.ts';
import { type BitmapsExtension, decodeName } from './extensions.ts';
import { badImage } from './fault.ts';
import { HeaderFields } from './header-fields.ts';
import { TABLE_ENTRY_BYTES } from './layout.ts';

const FLAGS_RESERVED = ~(layout.FLAG_IN_USE | layout.FLAG_AUTO | layout.FLAG_EXTRA_DATA_COMPATIBLE) >>> 0;

/** One persistent dirty bitmap, as the directory has it. */
export interface BitmapEntry {
  readonly name: string;
  /** Guest bytes that one bit stands for. */
  readonly granularity: number;
  /** Byte offset of the table of its clusters. */
  readonly tableOffset: number;
  readonly tableEntries: number;
  /** It was not saved after its last use, so what is stored may be old. */
  readonly inUse: boolean;
  /** Every writer must keep it up; without it, writes may be missing since it was switched off. */
  readonly auto: boolean;
  /** It can be used without knowing its extra data. */
  readonly extraDataCompatible: boolean;
  /** Bytes. */
  readonly extraDataSize: number;
}

/** Why a bitmap does not say which clusters changed; undefined if it does. */
export type BitmapFlaw = 'inconsistent' | 'in-use' | 'disabled' | 'unknown-extra-data' | undefined;

/** What each flaw means, for people. */
export const BITMAP_FLAWS: Readonly<Record<NonNullable<BitmapFlaw>, string>> = {
  inconsistent:
    'the image was written by a program that does not keep bitmaps up (autoclear bit 0 is not set)',
  'in-use': 'it was not saved when the image was last written',
  disabled: 'it is switched off, so later writes are missing in it',
  'unknown-extra-data': 'it has extra data that must be understood to use it',
};

/** What decides which directory entries are valid. */
export interface BitmapRules {
  readonly clusterSize: number;
  /** The disk's size in bytes, of which every bitmap stands for all. */
  readonly virtualSize: number;
  /** The image's name, for errors. */
  readonly image: string;
}

/** Bytes of the data of a bitmap, without the rest of its last cluster. */
export function bitmapBytes(virtualSize: number, granularity: number): number {
  return Math.ceil(Math.ceil(virtualSize / granularity) / 8);
}

/** Bytes of a bitmap's table. */
export function bitmapTableBytes(entry: Pick<BitmapEntry, 'tableEntries'>): number {
  return entry.tableEntries * TABLE_ENTRY_BYTES;
}

/**
 * The place of the directory, checked.
 * @throws ImgstoreError `BAD_IMAGE` naming the field.
 */
export function directoryRange(
  extension: BitmapsExtension,
  rules: BitmapRules,
  fileSize: number,
): { readonly offset: number; readonly length: number } {
  const { directoryOffset, directorySize, count } = extension;
  const bad = (field: string, value: bigint, why: string) =>
    badImage(rules.image, `bitmaps extension field ${field} = ${value} ${why}`, {
      field,
      value: String(value),
    });
  const least = BigInt(count * layout.ENTRY_FIXED_BYTES);
  if (directorySize < least) {
    throw bad('bitmap_directory_size', directorySize, `is too small for ${counted(count, 'bitmap')}`);
  }
  if (directorySize > layout.MAX_DIRECTORY_BYTES) {
    throw bad('bitmap_directory_size', directorySize, `is above ${layout.MAX_DIRECTORY_BYTES}`);
  }
  if (directoryOffset === 0n || directoryOffset % BigInt(rules.clusterSize) !== 0n) {
    throw bad(
      'bitmap_directory_offset',
      directoryOffset,
      `is not a multiple of ${rules.clusterSize} above 0`,
    );
  }
  if (directoryOffset + directorySize > fileSize) {
    throw bad('bitmap_directory_offset', directoryOffset, `leaves the file of ${fileSize} bytes`);
  }
  return { offset: Number(directoryOffset), length: Number(directorySize) };
}

/**
 * Parses the directory of persistent bitmaps.
 * @param bytes all of the directory. @param count of bitmaps, by the header extension.
 * @throws ImgstoreError `BAD_IMAGE` naming the bitmap's number and the field.
 */
export function parseBitmapDirectory(bytes: Uint8Array, count: number, rules: BitmapRules): BitmapEntry[] {
  const entries: BitmapEntry[] = [];
  const names = new Set<string>();
  let at = 0;
  for (let index = 0; index < count; index++) {
    const { entry, length } = parseEntry(bytes.subarray(at), index, rules);
    if (names.has(entry.name)) {
      throw badImage(rules.image, `two bitmaps have the name ${JSON.stringify(entry.name)}`, {
        field: 'name',
        value: entry.name,
      });
    }
    names.add(entry.name);
    entries.push(entry);
    at += length;
  }
  if (at !== bytes.length) {
    throw badImage(rules.image, `the bitmap directory has ${bytes.length} bytes, its entries ${at}`, {
      field: 'bitmap_directory_size',
      value: bytes.length,
    });
  }
  return entries;
}

function parseEntry(bytes: Uint8Array, index: number, rules: BitmapRules) {
  const fields = new HeaderFields(bytes, rules.image, `bitmap directory entry ${index}`);
  fields.need(layout.ENTRY_FIXED_BYTES);
  const extraDataSize = fields.u32(layout.EXTRA_SIZE_AT);
  const nameSize = fields.u16(layout.NAME_SIZE_AT);
  if (nameSize === 0 || nameSize > layout.MAX_NAME_BYTES) {
    throw fields.bad('name_size', nameSize, `is not within 1 to ${layout.MAX_NAME_BYTES}`);
  }
  const nameAt = layout.ENTRY_FIXED_BYTES + extraDataSize;
  const length = Math.ceil((nameAt + nameSize) / layout.ENTRY_ALIGNMENT) * layout.ENTRY_ALIGNMENT;
  fields.need(length);
  const type = fields.u8(layout.TYPE_AT);
  if (type !== layout.TYPE_DIRTY_TRACKING)
    throw fields.bad('type', type, `is not ${layout.TYPE_DIRTY_TRACKING}`);
  const flags = fields.u32(layout.FLAGS_AT);
  if ((flags & FLAGS_RESERVED) !== 0) throw fields.bad('flags', flags, 'has bits that are reserved');
  const granularityBits = fields.u8(layout.GRANULARITY_BITS_AT);
  if (granularityBits < layout.MIN_GRANULARITY_BITS || granularityBits > layout.MAX_GRANULARITY_BITS) {
    throw fields.bad(
      'granularity_bits',
      granularityBits,
      `is not within ${layout.MIN_GRANULARITY_BITS} to ${layout.MAX_GRANULARITY_BITS}`,
    );
  }
  const entry: BitmapEntry = {
    name: decodeName(bytes.subarray(nameAt, nameAt + nameSize)),
    granularity: 2 ** granularityBits,
    tableOffset: fields.u64(layout.TABLE_OFFSET_AT, 'bitmap_table_offset'),
    tableEntries: fields.u32(layout.TABLE_SIZE_AT),
    inUse: (flags & layout.FLAG_IN_USE) !== 0,
    auto: (flags & layout.FLAG_AUTO) !== 0,
    extraDataCompatible: (flags & layout.FLAG_EXTRA_DATA_COMPATIBLE) !== 0,
    extraDataSize,
  };
  checkTable(entry, fields, rules);
  return { entry, length };
}

function checkTable(entry: BitmapEntry, fields: HeaderFields, rules: BitmapRules): void {
  const { tableOffset, tableEntries, granularity, inUse } = entry;
  if (tableOffset === 0 || tableOffset % rules.clusterSize !== 0) {
    throw fields.bad('bitmap_table_offset', tableOffset, `is not a multiple of ${rules.clusterSize} above 0`);
  }
  if (tableEntries === 0 || tableEntries * rules.clusterSize > layout.MAX_BITMAP_BYTES) {
    throw fields.bad(
      'bitmap_table_size',
      tableEntries,
      `does not make 1 to ${layout.MAX_BITMAP_BYTES} bytes`,
    );
  }
  // One that was not saved may be of the size that the disk had before.
  const needed = Math.ceil(bitmapBytes(rules.virtualSize, granularity) / rules.clusterSize);
  if (!inUse && tableEntries !== needed) {
    throw fields.bad('bitmap_table_size', tableEntries, `is not ${needed}, which the disk needs`);
  }
}

/**
 * Why the bitmap does not tell all that was written to the disk since it was made, if so.
 * @param consistent the header's autoclear bit 0.
 */
export function bitmapFlaw(entry: BitmapEntry, consistent: boolean): BitmapFlaw {
  if (!consistent) return 'inconsistent';
  if (entry.inUse) return 'in-use';
  if (entry.extraDataSize > 0 && !entry.extraDataCompatible) return 'unknown-extra-data';
  return entry.auto ? undefined : 'disabled';
}
