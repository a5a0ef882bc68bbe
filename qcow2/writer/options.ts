import { geometryOf } from '../meta/geometry.ts';
import type { CompressionType } from '../meta/header.ts';
import { type HeaderExtension, RESERVED_EXTENSION_TYPES } from '../meta/header-encode.ts';
import * as layout from '../meta/layout.ts';
import { DEFAULT_REFCOUNT_ORDER } from '../meta/refcount.ts';
import { usage } from './usage.ts';

/** What a new image is to be. */
export interface Qcow2WriterOptions {
  /** Bytes; rounded up to a multiple of 512. */
  readonly virtualSize: number;
  /** Bytes; a power of two from 512 to 2 MiB. */
  readonly clusterSize: number;
  /** What unallocated clusters read from; the name is written as it is. */
  readonly backing?: { readonly file: string; readonly format: 'qcow2' | 'raw' } | undefined;
  /** As qemu-img calls the versions: 0.10 is version 2, 1.1 (when not given) version 3. */
  readonly compat?: '0.10' | '1.1' | undefined;
  /** Refcounts have 2^order bits, order 0 to 6; 4 when not given. What is shared, and a snapshot that QEMU is to apply, needs more. */
  readonly refcountOrder?: number | undefined;
  /** How compressed clusters are stored; zlib when not given. */
  readonly compressionType?: CompressionType | undefined;
  /** Entries that map 32 subclusters each; needs clusters of at least 16 KiB. */
  readonly extendedL2?: boolean | undefined;
  /** Header extensions of kinds that the writer does not write itself. */
  readonly extensions?: readonly HeaderExtension[] | undefined;
  /** One more such extension, of the same length every time, for which it must be known where the tables are; undefined: none after all. */
  readonly lateExtension?: ((places: TablePlaces) => HeaderExtension | undefined) | undefined;
}

/** Where the tables of a finished image are, in bytes. */
export interface TablePlaces {
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
}

/** The options, checked, with nothing left out. */
export interface ImagePlan {
  readonly version: 2 | 3;
  /** Bytes, a multiple of 512. */
  readonly virtualSize: number;
  readonly clusterSize: number;
  readonly backing: Qcow2WriterOptions['backing'];
  readonly refcountOrder: number;
  readonly compressionType: CompressionType;
  readonly extendedL2: boolean;
  readonly extensions: readonly HeaderExtension[];
  readonly lateExtension: NonNullable<Qcow2WriterOptions['lateExtension']>;
}

/** @throws ImgstoreError `USAGE` for what qcow2, or the version asked for, does not have. */
export function planImage(options: Qcow2WriterOptions): ImagePlan {
  const { clusterSize, backing } = options;
  const plan: ImagePlan = {
    version: options.compat === '0.10' ? 2 : 3,
    virtualSize: wholeSectors(options.virtualSize),
    clusterSize,
    backing,
    refcountOrder: options.refcountOrder ?? DEFAULT_REFCOUNT_ORDER,
    compressionType: options.compressionType ?? 'zlib',
    extendedL2: options.extendedL2 ?? false,
    extensions: options.extensions ?? [],
    lateExtension: options.lateExtension ?? (() => undefined),
  };
  const clusterBits = Math.log2(clusterSize);
  if (
    !Number.isInteger(clusterBits) ||
    clusterBits < layout.MIN_CLUSTER_BITS ||
    clusterBits > layout.MAX_CLUSTER_BITS
  ) {
    throw usage(`cluster size ${clusterSize} is not a power of two from 512 to 2097152`);
  }
  checkFeatures(plan, clusterBits);
  l1EntriesFor(plan, plan.virtualSize);
  if (Buffer.byteLength(backing?.file ?? '') > layout.MAX_BACKING_NAME_BYTES) {
    throw usage(`the backing file's name has more than ${layout.MAX_BACKING_NAME_BYTES} bytes`);
  }
  const late = plan.lateExtension({ l1Offset: 0, refcountTableOffset: 0 });
  for (const { type } of [...plan.extensions, ...(late === undefined ? [] : [late])]) {
    if (!Number.isInteger(type) || type < 0 || type >= 2 ** 32 || RESERVED_EXTENSION_TYPES.includes(type)) {
      throw usage(`header extension 0x${type.toString(16)} is not for callers to add`);
    }
  }
  return plan;
}

function checkFeatures(plan: ImagePlan, clusterBits: number): void {
  const { version, refcountOrder, extendedL2, compressionType } = plan;
  if (!Number.isInteger(refcountOrder) || refcountOrder < 0 || refcountOrder > layout.MAX_REFCOUNT_ORDER) {
    throw usage(`refcount order ${refcountOrder} is not from 0 to ${layout.MAX_REFCOUNT_ORDER}`);
  }
  if (extendedL2 && clusterBits < layout.MIN_EXTENDED_L2_CLUSTER_BITS) {
    throw usage(`extended L2 entries need clusters of ${2 ** layout.MIN_EXTENDED_L2_CLUSTER_BITS} bytes`);
  }
  if (version === 3) return;
  if (refcountOrder !== DEFAULT_REFCOUNT_ORDER) throw usage('version 0.10 has refcounts of 16 bits only');
  if (compressionType !== 'zlib') throw usage('version 0.10 compresses with zlib only');
  if (extendedL2) throw usage('version 0.10 has no extended L2 entries');
}

/** A disk's size as images have it. @throws ImgstoreError `USAGE`. */
export function wholeSectors(virtualSize: number): number {
  if (!Number.isSafeInteger(virtualSize + layout.SECTOR) || virtualSize < 0) {
    throw usage(`virtual size ${virtualSize} is not a number of bytes below 2^53`);
  }
  return Math.ceil(virtualSize / layout.SECTOR) * layout.SECTOR;
}

/** Entries of the L1 table of a disk. @throws ImgstoreError `USAGE` when there are too many. */
export function l1EntriesFor({ clusterSize, extendedL2 }: ImagePlan, virtualSize: number): number {
  const entries = Math.ceil(virtualSize / geometryOf(Math.log2(clusterSize), extendedL2).l2Span);
  if (entries * layout.TABLE_ENTRY_BYTES > layout.MAX_L1_BYTES) {
    throw usage(`a disk of ${virtualSize} bytes needs clusters larger than ${clusterSize} bytes`);
  }
  return entries;
}
