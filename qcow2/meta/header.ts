import {
  type BitmapsExtension,
  decodeName,
  EXTENSION_HEAD_BYTES,
  type HeaderExtensions,
  parseExtensions,
} from './extensions.ts';
import { badImage, unsupported } from './fault.ts';
import {
  AUTOCLEAR_BITMAPS,
  AUTOCLEAR_DATA_FILE_RAW,
  COMPATIBLE_LAZY_REFCOUNTS,
  checkIncompatible,
  INCOMPATIBLE_COMPRESSION_TYPE,
  INCOMPATIBLE_CORRUPT,
  INCOMPATIBLE_DATA_FILE,
  INCOMPATIBLE_DIRTY,
  INCOMPATIBLE_EXTENDED_L2,
} from './features.ts';
import { geometryOf } from './geometry.ts';
import { HeaderFields } from './header-fields.ts';
import * as layout from './layout.ts';

/** How compressed clusters are stored. */
export type CompressionType = 'zlib' | 'zstd';

/** The header and its extensions, checked. Sizes and offsets are bytes unless said. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** Whole sectors: the header's size without its rest modulo 512, as QEMU has it. */
  readonly virtualSize: number;
  readonly l1Offset: number;
  /** Entries of the active L1 table. */
  readonly l1Entries: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly refcountOrder: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
  readonly encryption: 'aes' | 'luks' | undefined;
  readonly compressionType: CompressionType;
  readonly extendedL2: boolean;
  readonly dirty: boolean;
  readonly corrupt: boolean;
  readonly lazyRefcounts: boolean;
  /** As the image has it; never follow it without a policy. */
  readonly backingFile: string | undefined;
  readonly backingFormat: string | undefined;
  /** Guest clusters live in another file, whose name may be missing; `raw` if that file reads alone. */
  readonly dataFile: { readonly name: string | undefined; readonly raw: boolean } | undefined;
  /** Directory of persistent bitmaps; `consistent` is the header's autoclear bit 0. */
  readonly bitmaps: (BitmapsExtension & { readonly consistent: boolean }) | undefined;
  readonly extensions: HeaderExtensions;
}

/** Bytes of the first cluster, from a prefix of the file of at least 24 bytes; 0 when the field is not valid. */
export function firstClusterSize(prefix: Uint8Array): number {
  if (prefix.length < layout.SIZE_AT) return 0;
  const bits = new DataView(prefix.buffer, prefix.byteOffset).getUint32(layout.CLUSTER_BITS_AT);
  return bits >= layout.MIN_CLUSTER_BITS && bits <= layout.MAX_CLUSTER_BITS ? 2 ** bits : 0;
}

/**
 * Parses and checks a header of version 2 or 3 (specification, sections "Header" and "Header extensions").
 * @param bytes the first cluster of the file, or all of a shorter file.
 * @param image the file's name, for errors.
 * @throws ImgstoreError `BAD_IMAGE` naming the field, or `UNSUPPORTED`.
 */
export function parseHeader(bytes: Uint8Array, image: string): Qcow2Header {
  const fields = new HeaderFields(bytes, image);
  if (!layout.hasQcowMagic(bytes)) throw badImage(image, 'no qcow2 magic', { field: 'magic' });
  fields.need(layout.VERSION_AT + 4);
  const version = fields.u32(layout.VERSION_AT);
  if (version === 1) {
    throw unsupported(image, 'is qcow version 1: convert it with qemu-img convert -f qcow -O qcow2', {
      field: 'version',
      value: 1,
    });
  }
  if (version !== 2 && version !== 3) {
    throw unsupported(image, `qcow2 version ${version} is unknown`, { field: 'version', value: version });
  }
  fields.need(version === 2 ? layout.V2_HEADER_BYTES : layout.V3_HEADER_BYTES);

  const clusterBits = fields.u32(layout.CLUSTER_BITS_AT);
  if (clusterBits < layout.MIN_CLUSTER_BITS || clusterBits > layout.MAX_CLUSTER_BITS) {
    throw fields.bad(
      'cluster_bits',
      clusterBits,
      `is not within ${layout.MIN_CLUSTER_BITS} to ${layout.MAX_CLUSTER_BITS}`,
    );
  }
  const clusterSize = 2 ** clusterBits;
  const headerLength = version === 2 ? layout.V2_HEADER_BYTES : fields.u32(layout.HEADER_LENGTH_AT);
  if (version === 3 && (headerLength < layout.V3_HEADER_BYTES || headerLength > clusterSize)) {
    throw fields.bad(
      'header_length',
      headerLength,
      `is not within ${layout.V3_HEADER_BYTES} to ${clusterSize}`,
    );
  }
  fields.need(headerLength);

  const backingOffset = fields.u64(layout.BACKING_OFFSET_AT, 'backing_file_offset');
  if (backingOffset > clusterSize) {
    throw fields.bad('backing_file_offset', backingOffset, 'is beyond the first cluster');
  }
  const area = extensionArea(bytes, headerLength, backingOffset === 0 ? clusterSize : backingOffset);

  const incompatible = version === 2 ? 0n : fields.mask(layout.INCOMPATIBLE_AT);
  const compatible = version === 2 ? 0n : fields.mask(layout.COMPATIBLE_AT);
  const autoclear = version === 2 ? 0n : fields.mask(layout.AUTOCLEAR_AT);
  // An unknown feature is the better reason than whatever it made of the extensions, so it is told first.
  const extensions = extensionsOrFault(area, image);
  checkIncompatible(incompatible, extensions instanceof Error ? [] : extensions.featureNames, image);
  if (extensions instanceof Error) throw extensions;

  const extendedL2 = (incompatible & INCOMPATIBLE_EXTENDED_L2) !== 0n;
  if (extendedL2 && clusterBits < layout.MIN_EXTENDED_L2_CLUSTER_BITS) {
    throw fields.bad(
      'cluster_bits',
      clusterBits,
      `is too small for extended L2 entries, which need ${layout.MIN_EXTENDED_L2_CLUSTER_BITS}`,
    );
  }
  const refcountOrder = version === 2 ? 4 : fields.u32(layout.REFCOUNT_ORDER_AT);
  if (refcountOrder > layout.MAX_REFCOUNT_ORDER) {
    throw fields.bad('refcount_order', refcountOrder, `is above ${layout.MAX_REFCOUNT_ORDER}`);
  }
  const encryption = encryptionOf(fields);
  if (extensions.cryptoHeader !== undefined && encryption !== 'luks') {
    throw fields.bad(
      'crypt_method',
      fields.u32(layout.CRYPT_METHOD_AT),
      'is not that of LUKS, but a header extension says where its LUKS header is',
    );
  }
  const hasDataFile = (incompatible & INCOMPATIBLE_DATA_FILE) !== 0n;
  const isDataFileRaw = (autoclear & AUTOCLEAR_DATA_FILE_RAW) !== 0n;
  if (isDataFileRaw && !hasDataFile) {
    throw fields.bad(
      'autoclear_features',
      autoclear,
      'says that the external data file is raw, but there is none',
    );
  }

  return {
    version,
    clusterBits,
    encryption,
    extendedL2,
    refcountOrder,
    ...tables(fields, clusterBits, extendedL2),
    compressionType: compressionOf(fields, headerLength, incompatible),
    dirty: (incompatible & INCOMPATIBLE_DIRTY) !== 0n,
    corrupt: (incompatible & INCOMPATIBLE_CORRUPT) !== 0n,
    lazyRefcounts: (compatible & COMPATIBLE_LAZY_REFCOUNTS) !== 0n,
    backingFile: backingName(fields, bytes, backingOffset, clusterSize),
    backingFormat: extensions.backingFormat,
    dataFile: hasDataFile ? { name: extensions.dataFile, raw: isDataFileRaw } : undefined,
    bitmaps:
      extensions.bitmaps === undefined
        ? undefined
        : { ...extensions.bitmaps, consistent: (autoclear & AUTOCLEAR_BITMAPS) !== 0n },
    extensions,
  };
}

/** The bytes of all extensions; behind the end of a file that ends within its first cluster there are zeros. */
function extensionArea(bytes: Uint8Array, from: number, to: number): Uint8Array {
  if (to <= bytes.length) return bytes.subarray(from, Math.max(from, to));
  const area = new Uint8Array(Math.min(to - from, bytes.length - from + EXTENSION_HEAD_BYTES));
  area.set(bytes.subarray(from));
  return area;
}

function extensionsOrFault(area: Uint8Array, image: string): HeaderExtensions | Error {
  try {
    return parseExtensions(area, image);
  } catch (error) {
    return error as Error;
  }
}

function tables(fields: HeaderFields, clusterBits: number, extendedL2: boolean) {
  const clusterSize = 2 ** clusterBits;
  const aligned = (at: number, field: string): number => {
    const offset = fields.u64(at, field);
    if (offset % clusterSize !== 0) throw fields.bad(field, offset, `is not a multiple of ${clusterSize}`);
    return offset;
  };
  const size = fields.u64(layout.SIZE_AT, 'size');
  const l1Entries = fields.u32(layout.L1_SIZE_AT);
  if (l1Entries * layout.TABLE_ENTRY_BYTES > layout.MAX_L1_BYTES) {
    throw fields.bad('l1_size', l1Entries, `is above ${layout.MAX_L1_BYTES / layout.TABLE_ENTRY_BYTES}`);
  }
  const needed = Math.ceil(size / geometryOf(clusterBits, extendedL2).l2Span);
  if (l1Entries < needed) throw fields.bad('l1_size', l1Entries, `is too small: the disk needs ${needed}`);
  const refcountTableClusters = fields.u32(layout.REFCOUNT_TABLE_CLUSTERS_AT);
  if (refcountTableClusters * clusterSize > layout.MAX_REFCOUNT_TABLE_BYTES) {
    throw fields.bad(
      'refcount_table_clusters',
      refcountTableClusters,
      `makes more than ${layout.MAX_REFCOUNT_TABLE_BYTES} bytes`,
    );
  }
  const snapshotCount = fields.u32(layout.SNAPSHOT_COUNT_AT);
  if (snapshotCount > layout.MAX_SNAPSHOTS) {
    throw fields.bad('nb_snapshots', snapshotCount, `is above ${layout.MAX_SNAPSHOTS}`);
  }
  return {
    virtualSize: size - (size % layout.SECTOR),
    l1Entries,
    l1Offset: aligned(layout.L1_OFFSET_AT, 'l1_table_offset'),
    refcountTableClusters,
    refcountTableOffset: aligned(layout.REFCOUNT_TABLE_OFFSET_AT, 'refcount_table_offset'),
    snapshotCount,
    // QEMU writes no offset that means anything when there are no snapshots.
    snapshotsOffset: snapshotCount === 0 ? 0 : aligned(layout.SNAPSHOTS_OFFSET_AT, 'snapshots_offset'),
  };
}

function encryptionOf(fields: HeaderFields): Qcow2Header['encryption'] {
  const method = fields.u32(layout.CRYPT_METHOD_AT);
  if (method === 0) return undefined;
  if (method === 1) return 'aes';
  if (method === 2) return 'luks';
  throw unsupported(fields.image, `encryption method ${method} is unknown`, {
    field: 'crypt_method',
    value: method,
  });
}

function compressionOf(fields: HeaderFields, headerLength: number, incompatible: bigint): CompressionType {
  const type = headerLength > layout.COMPRESSION_TYPE_AT ? fields.u8(layout.COMPRESSION_TYPE_AT) : 0;
  const flagged = (incompatible & INCOMPATIBLE_COMPRESSION_TYPE) !== 0n;
  if (flagged !== (type !== 0)) {
    throw fields.bad('compression_type', type, 'does not agree with the compression type bit');
  }
  if (type > 1) {
    throw unsupported(fields.image, `compression type ${type} is unknown`, {
      field: 'compression_type',
      value: type,
    });
  }
  return type === 1 ? 'zstd' : 'zlib';
}

function backingName(
  fields: HeaderFields,
  bytes: Uint8Array,
  offset: number,
  clusterSize: number,
): string | undefined {
  if (offset === 0) return undefined;
  const length = fields.u32(layout.BACKING_SIZE_AT);
  if (length > layout.MAX_BACKING_NAME_BYTES || length > clusterSize - offset) {
    throw fields.bad('backing_file_size', length, 'is above 1023 or leaves the first cluster');
  }
  fields.need(offset + length);
  const name = decodeName(bytes.subarray(offset, offset + length));
  return name === '' ? undefined : name;
}
