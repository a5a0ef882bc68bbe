import { encodeExtension, TYPE_BACKING_FORMAT } from './extensions.ts';
import * as layout from './layout.ts';

/** What a new image's header says; all else is fixed: version 3, 16-bit refcounts, no features. */
export interface NewHeader {
  readonly clusterBits: number;
  /** Bytes, a multiple of 512. */
  readonly virtualSize: number;
  readonly l1Offset: number;
  readonly l1Entries: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly backing: { readonly file: string; readonly format: string } | undefined;
}

/** 16-bit refcounts: the width that every version has. */
export const WRITTEN_REFCOUNT_ORDER = 4;

/** Encodes a header with its extensions and the backing file's name: shorter than the first cluster or too long. */
export function encodeHeader(header: NewHeader): Uint8Array {
  const format =
    header.backing === undefined
      ? new Uint8Array()
      : encodeExtension(TYPE_BACKING_FORMAT, new TextEncoder().encode(header.backing.format));
  const end = encodeExtension(0, new Uint8Array());
  const name = new TextEncoder().encode(header.backing?.file ?? '');
  const nameAt = layout.WRITTEN_HEADER_BYTES + format.length + end.length;
  const bytes = new Uint8Array(nameAt + name.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(layout.MAGIC_AT, layout.QCOW_MAGIC);
  view.setUint32(layout.VERSION_AT, 3);
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
  view.setUint32(layout.REFCOUNT_ORDER_AT, WRITTEN_REFCOUNT_ORDER);
  view.setUint32(layout.HEADER_LENGTH_AT, layout.WRITTEN_HEADER_BYTES);
  bytes.set(format, layout.WRITTEN_HEADER_BYTES);
  bytes.set(end, layout.WRITTEN_HEADER_BYTES + format.length);
  bytes.set(name, nameAt);
  return bytes;
}
