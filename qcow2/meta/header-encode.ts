import { type BitmapDirectory, encodeBitmapDirectory } from './bitmap-encode.ts';
import {
  encodeExtension,
  TYPE_BACKING_FORMAT,
  TYPE_BITMAPS,
  TYPE_CRYPTO_HEADER,
  TYPE_DATA_FILE,
  TYPE_END,
  TYPE_FEATURE_NAMES,
} from './extensions.ts';
import { AUTOCLEAR_BITMAPS, INCOMPATIBLE_COMPRESSION_TYPE, INCOMPATIBLE_EXTENDED_L2 } from './features.ts';
import type { CompressionType } from './header.ts';
import * as layout from './layout.ts';
import { DEFAULT_REFCOUNT_ORDER } from './refcount.ts';

/** Extension types with a meaning that the rest of the header must agree with: nobody may add them as raw bytes. */
export const RESERVED_EXTENSION_TYPES: readonly number[] = [
  TYPE_END,
  TYPE_BACKING_FORMAT,
  TYPE_BITMAPS,
  TYPE_FEATURE_NAMES,
  TYPE_CRYPTO_HEADER,
  TYPE_DATA_FILE,
];

const COMPRESSION_ZSTD = 1;

/** A header extension as raw bytes. */
export interface HeaderExtension {
  /** The magic number that names its kind, 32 bits. */
  readonly type: number;
  readonly data: Uint8Array;
}

/** What a new image's header says. All else is fixed: not encrypted, not dirty, no external data file. */
export interface NewHeader {
  /** 3 when not given. */
  readonly version?: 2 | 3;
  readonly clusterBits: number;
  /** Bytes, a multiple of 512. */
  readonly virtualSize: number;
  readonly l1Offset: number;
  readonly l1Entries: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  /** 4 when not given, as version 2 has it. */
  readonly refcountOrder?: number;
  readonly backing: { readonly file: string; readonly format: string } | undefined;
  /** deflate when not given, as version 2 has it. */
  readonly compressionType?: CompressionType;
  /** Version 3. */
  readonly extendedL2?: boolean;
  readonly snapshots?: { readonly count: number; readonly offset: number } | undefined;
  /** Version 3. */
  readonly bitmaps?: BitmapDirectory | undefined;
  readonly extensions?: readonly HeaderExtension[];
}

/** Encodes a header with its extensions and the backing file's name: shorter than the first cluster or too long. */
export function encodeHeader(header: NewHeader): Uint8Array {
  const version = header.version ?? 3;
  const fixedBytes = version === 2 ? layout.V2_HEADER_BYTES : layout.WRITTEN_HEADER_BYTES;
  const extensions = Buffer.concat(extensionsOf(header));
  const name = new TextEncoder().encode(header.backing?.file ?? '');
  const nameAt = fixedBytes + extensions.length;
  const bytes = new Uint8Array(nameAt + name.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(layout.MAGIC_AT, layout.QCOW_MAGIC);
  view.setUint32(layout.VERSION_AT, version);
  if (header.backing !== undefined) {
    view.setBigUint64(layout.BACKING_OFFSET_AT, BigInt(nameAt));
    view.setUint32(layout.BACKING_SIZE_AT, name.length);
  }
  view.setUint32(layout.CLUSTER_BITS_AT, header.clusterBits);
  view.setBigUint64(layout.SIZE_AT, BigInt(header.virtualSize));
  view.setUint32(layout.L1_SIZE_AT, header.l1Entries);
  view.setBigUint64(layout.L1_OFFSET_AT, BigInt(header.l1Offset));
  view.setBigUint64(layout.REFCOUNT_TABLE_OFFSET_AT, BigInt(header.refcountTableOffset));
  view.setUint32(layout.REFCOUNT_TABLE_CLUSTERS_AT, header.refcountTableClusters);
  if (header.snapshots !== undefined) {
    view.setUint32(layout.SNAPSHOT_COUNT_AT, header.snapshots.count);
    view.setBigUint64(layout.SNAPSHOTS_OFFSET_AT, BigInt(header.snapshots.offset));
  }
  if (version === 3) setVersion3(view, header);
  bytes.set(extensions, fixedBytes);
  bytes.set(name, nameAt);
  return bytes;
}

function setVersion3(view: DataView, header: NewHeader): void {
  let incompatible = 0n;
  if (header.compressionType === 'zstd') {
    incompatible |= INCOMPATIBLE_COMPRESSION_TYPE;
    view.setUint8(layout.COMPRESSION_TYPE_AT, COMPRESSION_ZSTD);
  }
  if (header.extendedL2) incompatible |= INCOMPATIBLE_EXTENDED_L2;
  view.setBigUint64(layout.INCOMPATIBLE_AT, incompatible);
  if (header.bitmaps !== undefined) view.setBigUint64(layout.AUTOCLEAR_AT, AUTOCLEAR_BITMAPS);
  view.setUint32(layout.REFCOUNT_ORDER_AT, header.refcountOrder ?? DEFAULT_REFCOUNT_ORDER);
  view.setUint32(layout.HEADER_LENGTH_AT, layout.WRITTEN_HEADER_BYTES);
}

function extensionsOf({ backing, bitmaps, extensions }: NewHeader): Uint8Array[] {
  // Before those that QEMU knows, behind which it puts them when it writes a header anew: so that shows.
  const encoded = (extensions ?? []).map(({ type, data }) => encodeExtension(type, data));
  if (backing !== undefined) {
    encoded.push(encodeExtension(TYPE_BACKING_FORMAT, new TextEncoder().encode(backing.format)));
  }
  if (bitmaps !== undefined) encoded.push(encodeExtension(TYPE_BITMAPS, encodeBitmapDirectory(bitmaps)));
  encoded.push(encodeExtension(TYPE_END, new Uint8Array()));
  return encoded;
}
