import * as bitmapLayout from './bitmap-layout.ts';
import { badImage } from './fault.ts';
import type { FeatureKind, FeatureName } from './features.ts';

/*
 * Header extensions (specification, section "Header extensions"): after the header, each
 *
 *   0  u32 type     4  u32 length of the data     8  data, padded to a multiple of 8
 *
 * until type 0, or until the backing file's name or the end of the first cluster.
 */
const TYPE_AT = 0;
const LENGTH_AT = TYPE_AT + 4;
const DATA_AT = LENGTH_AT + 4;
/** Type and length, which an area that has any extension must have room for. */
export const EXTENSION_HEAD_BYTES = DATA_AT;
const ALIGNMENT = 8;

export const TYPE_END = 0;
export const TYPE_BACKING_FORMAT = 0xe2792aca;
export const TYPE_FEATURE_NAMES = 0x6803f857;
export const TYPE_BITMAPS = 0x23852875;
export const TYPE_CRYPTO_HEADER = 0x0537be77;
export const TYPE_DATA_FILE = 0x44415441;

/** Entry of the feature-name table: u8 kind, u8 bit, 46 bytes of name padded with zeros. */
const FEATURE_NAME_BYTES = 48;
const FEATURE_NAME_AT = 2;
const FEATURE_KINDS: readonly FeatureKind[] = ['incompatible', 'compatible', 'autoclear'];

/** u64 offset, u64 length. */
const CRYPTO_HEADER_BYTES = 16;

/** QEMU's buffer for a format's name has 16 bytes with the closing zero. */
const MAX_BACKING_FORMAT_BYTES = 15;
/** The same limit as for a backing file's name. */
const MAX_DATA_FILE_BYTES = 1023;

/** Where the directory of persistent dirty bitmaps lies. Trust it only if the header's autoclear bit 0 is set. */
export interface BitmapsExtension {
  readonly count: number;
  /** Bytes. */
  readonly directorySize: bigint;
  /** Bytes from the start of the file. */
  readonly directoryOffset: bigint;
}

/** What the extensions of one header say; `undefined` where an extension is absent. */
export interface HeaderExtensions {
  readonly backingFormat: string | undefined;
  readonly dataFile: string | undefined;
  readonly featureNames: readonly FeatureName[];
  readonly bitmaps: BitmapsExtension | undefined;
  /** Place of the LUKS header, in bytes from the start of the file. */
  readonly cryptoHeader: { readonly offset: bigint; readonly length: bigint } | undefined;
  /** Types that this reader does not know, in file order; they may be ignored. */
  readonly unknown: readonly { readonly type: number; readonly length: number }[];
  /** Every extension as it is stored, known or not, in file order: whoever writes the header anew keeps them. */
  readonly list: readonly RawExtension[];
}

/** One extension as it is stored, without its padding. */
export interface RawExtension {
  readonly type: number;
  readonly data: Uint8Array;
}

/**
 * Parses the extension area.
 * @param area the bytes from the end of the header to the backing file's name, the end of the first cluster or
 * the end of the file, whichever comes first.
 * @param image the file's name, for errors.
 * @throws ImgstoreError `BAD_IMAGE` for an extension that leaves the area or breaks its own form.
 */
export function parseExtensions(area: Uint8Array, image: string): HeaderExtensions {
  const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  let backingFormat: string | undefined;
  let dataFile: string | undefined;
  let featureNames: readonly FeatureName[] = [];
  let bitmaps: BitmapsExtension | undefined;
  let cryptoHeader: HeaderExtensions['cryptoHeader'];
  const unknown: { type: number; length: number }[] = [];
  const list: RawExtension[] = [];

  let at = 0;
  while (at < area.length) {
    if (area.length - at < EXTENSION_HEAD_BYTES) {
      throw badImage(
        image,
        `its header extensions end in the middle of one, ${area.length} bytes from their start`,
        {
          field: 'header extension',
          value: area.length,
        },
      );
    }
    const type = view.getUint32(at + TYPE_AT);
    const length = view.getUint32(at + LENGTH_AT);
    const start = at + DATA_AT;
    if (length > area.length - start) {
      throw badImage(image, `header extension 0x${type.toString(16)} of ${length} bytes leaves its area`, {
        field: 'header extension',
        value: length,
      });
    }
    if (type === TYPE_END) break;
    const data = new Uint8Array(area.subarray(start, start + length));
    list.push({ type, data });
    switch (type) {
      case TYPE_BACKING_FORMAT:
        backingFormat = text(data, MAX_BACKING_FORMAT_BYTES, 'backing file format', image);
        break;
      case TYPE_DATA_FILE:
        dataFile = text(data, MAX_DATA_FILE_BYTES, 'external data file name', image);
        break;
      case TYPE_FEATURE_NAMES:
        featureNames = parseFeatureNames(data);
        break;
      case TYPE_BITMAPS:
        bitmaps = parseBitmaps(data, image);
        break;
      case TYPE_CRYPTO_HEADER:
        cryptoHeader = parseCryptoHeader(data, image);
        break;
      default:
        unknown.push({ type, length });
    }
    at = start + Math.ceil(length / ALIGNMENT) * ALIGNMENT;
  }
  return { backingFormat, dataFile, featureNames, bitmaps, cryptoHeader, unknown, list };
}

/** Encodes one extension with its padding. */
export function encodeExtension(type: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(DATA_AT + Math.ceil(data.length / ALIGNMENT) * ALIGNMENT);
  const view = new DataView(bytes.buffer);
  view.setUint32(TYPE_AT, type);
  view.setUint32(LENGTH_AT, data.length);
  bytes.set(data, DATA_AT);
  return bytes;
}

/** A name in an image; QEMU takes it as a C string, so a zero byte ends it. */
export function decodeName(data: Uint8Array): string {
  const zero = data.indexOf(0);
  return new TextDecoder().decode(zero < 0 ? data : data.subarray(0, zero));
}

function text(data: Uint8Array, max: number, field: string, image: string): string | undefined {
  if (data.length > max) {
    throw badImage(image, `${field} of ${data.length} bytes is longer than ${max}`, {
      field,
      value: data.length,
    });
  }
  const value = decodeName(data);
  return value === '' ? undefined : value;
}

function parseFeatureNames(data: Uint8Array): FeatureName[] {
  const names: FeatureName[] = [];
  for (let at = 0; at + FEATURE_NAME_BYTES <= data.length; at += FEATURE_NAME_BYTES) {
    const kind = FEATURE_KINDS[data[at]!];
    if (kind === undefined) continue;
    names.push({
      kind,
      bit: data[at + 1]!,
      name: decodeName(data.subarray(at + FEATURE_NAME_AT, at + FEATURE_NAME_BYTES)),
    });
  }
  return names;
}

function parseBitmaps(data: Uint8Array, image: string): BitmapsExtension {
  if (data.length !== bitmapLayout.EXTENSION_BYTES) {
    throw badImage(image, `bitmaps extension has ${data.length} bytes, not ${bitmapLayout.EXTENSION_BYTES}`, {
      field: 'bitmaps extension',
      value: data.length,
    });
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const count = view.getUint32(bitmapLayout.COUNT_AT);
  if (count < 1 || count > bitmapLayout.MAX_BITMAPS) {
    throw badImage(
      image,
      `bitmaps extension counts ${count} bitmaps: 1 to ${bitmapLayout.MAX_BITMAPS} are valid`,
      {
        field: 'nb_bitmaps',
        value: count,
      },
    );
  }
  return {
    count,
    directorySize: view.getBigUint64(bitmapLayout.DIRECTORY_SIZE_AT),
    directoryOffset: view.getBigUint64(bitmapLayout.DIRECTORY_OFFSET_AT),
  };
}

function parseCryptoHeader(
  data: Uint8Array,
  image: string,
): { readonly offset: bigint; readonly length: bigint } {
  if (data.length !== CRYPTO_HEADER_BYTES) {
    throw badImage(image, `encryption extension has ${data.length} bytes, not ${CRYPTO_HEADER_BYTES}`, {
      field: 'encryption extension',
      value: data.length,
    });
  }
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return { offset: view.getBigUint64(0), length: view.getBigUint64(8) };
}
