import type { BlockSource, InPlaceFile } from '../../block/index.ts';
import { bitmapTableBytes, directoryRange } from '../meta/bitmap.ts';
import { ALL_ONES, encodeBitmap, encodeBitmapDirectory } from '../meta/bitmap-encode.ts';
import * as layout from '../meta/bitmap-layout.ts';
import { bitmapCluster } from '../meta/bitmap-table.ts';
import { TYPE_BITMAPS } from '../meta/extensions.ts';
import { badImage, unsupported } from '../meta/fault.ts';
import { AUTOCLEAR_BITMAPS, AUTOCLEAR_DATA_FILE_RAW } from '../meta/features.ts';
import type { Qcow2Header } from '../meta/header.ts';
import type { HeaderExtension } from '../meta/header-encode.ts';
import {
  AUTOCLEAR_AT,
  REFCOUNT_TABLE_OFFSET_AT,
  SNAPSHOT_COUNT_AT,
  TABLE_ENTRY_BYTES,
} from '../meta/layout.ts';
import { readBitmaps } from '../reader/bitmaps.ts';
import { readHeader } from '../reader/image.ts';
import { encodeChangedHeader, storedBackingName } from './header.ts';
import { Refcounts } from './refcounts.ts';

/** A bitmap that begins now: nothing is dirty but one granule. */
export interface FreshBitmap {
  /** 1 to 1023 bytes as UTF-8. */
  readonly name: string;
  /** Guest bytes for one bit, a power of two from 512 to 2^31. */
  readonly granularity: number;
  /** Number of the granule that is dirty from the start. */
  readonly dirtyGranule: number;
  /** Goes into the header with it, in the place of one of its kind. */
  readonly extension: HeaderExtension;
}

/**
 * Puts a persistent dirty bitmap into an image, which QEMU then keeps up, in the place of some that are there. Others stay.
 *
 * New clusters are written and counted first, then the header leads to the new directory in one write, and only then are the old ones given back, with an fsync between: after a kill at
 * any moment the image has the old bitmaps or the new one, and at most leaks.
 * @param file the image, on which the caller has the locks @param host the same, for reading @param image its name, for errors @param isReplaced by name
 * @throws ImgstoreError `UNSUPPORTED`, `BAD_IMAGE`, `IO`
 */
export async function startBitmap(
  file: InPlaceFile,
  host: BlockSource,
  image: string,
  fresh: FreshBitmap,
  isReplaced: (name: string) => boolean,
): Promise<void> {
  const header = await readHeader(host, image);
  refuseUntrackable(header, image);
  const directory = await readDirectory(host, header, image, isReplaced);
  const refcounts = new Refcounts(file, header, image);
  refcounts.lookNearEnd();

  const entry = writeBits(file, refcounts, header, fresh, image);
  const bytes = Buffer.concat([...directory.kept, entry]);
  const clusterSize = 2 ** header.clusterBits;
  const offset = refcounts.takeRun(Math.ceil(bytes.length / clusterSize));
  file.write(offset, padded(bytes, clusterSize));
  const data = encodeBitmapDirectory({ count: directory.kept.length + 1, size: bytes.length, offset });
  const newHeader = headerWith(file, header, [{ type: TYPE_BITMAPS, data }, fresh.extension], image);
  if (file.size < refcounts.endOffset) await file.resize(refcounts.endOffset);
  const replaced = await refcounts.write();
  await file.sync();
  // The refcount table may have a new place, which the header says already.
  const moved = Buffer.alloc(SNAPSHOT_COUNT_AT - REFCOUNT_TABLE_OFFSET_AT);
  file.read(REFCOUNT_TABLE_OFFSET_AT, moved);
  moved.copy(newHeader, REFCOUNT_TABLE_OFFSET_AT);
  file.write(0, newHeader);
  await file.sync();
  const old = [...replaced, ...directory.clusters].filter((cluster) => refcounts.count(cluster) === 1);
  for (const cluster of old) refcounts.release(cluster);
  await refcounts.write();
  for (const cluster of old) file.zero(cluster, clusterSize);
  await file.sync();
}

/** @throws ImgstoreError `UNSUPPORTED`, `BAD_IMAGE` */
function refuseUntrackable(header: Qcow2Header, image: string): void {
  if (header.version === 2)
    throw unsupported(image, 'is of version 0.10, which has no bitmaps: run qemu-img amend -o compat=1.1');
  if (header.dataFile !== undefined)
    throw unsupported(image, 'keeps its data in an external data file, which others may write to unseen');
  if (header.corrupt || header.dirty) {
    const mark = header.corrupt ? 'corrupt' : 'not closed properly';
    throw badImage(image, `is marked as ${mark}: run qemu-img check -r all on it first`);
  }
}

/** What is there. */
interface OldDirectory {
  /** Entries of the bitmaps that stay, as they are stored. */
  readonly kept: readonly Uint8Array[];
  /** Host offsets of the clusters of the directory and of the bitmaps that go. */
  readonly clusters: readonly number[];
}

async function readDirectory(
  host: BlockSource,
  header: Qcow2Header,
  image: string,
  isReplaced: (name: string) => boolean,
): Promise<OldDirectory> {
  if (header.bitmaps === undefined) return { kept: [], clusters: [] };
  const clusterSize = 2 ** header.clusterBits;
  const { virtualSize } = header;
  const { consistent } = header.bitmaps;
  const range = directoryRange(header.bitmaps, { clusterSize, virtualSize, image }, host.size);
  const directory = Buffer.allocUnsafe(range.length);
  await host.read(range.offset, directory);
  const kept: Uint8Array[] = [];
  // Whoever wrote last did not know bitmaps: their clusters may be somebody else's now.
  const clusters = consistent ? clustersOf(range.offset, range.length, clusterSize) : [];
  let at = 0;
  for (const bitmap of await readBitmaps(host, header, image)) {
    const length = entryLength(directory, at);
    const entry = directory.subarray(at, at + length);
    at += length;
    if (isReplaced(bitmap.name)) {
      if (consistent) clusters.push(...(await bitmapClusters(host, bitmap, clusterSize)));
      continue;
    }
    // The autoclear bit will say that all are consistent.
    if (!consistent)
      entry.writeUInt32BE(entry.readUInt32BE(layout.FLAGS_AT) | layout.FLAG_IN_USE, layout.FLAGS_AT);
    kept.push(entry);
  }
  return { kept, clusters };
}

function entryLength(directory: Buffer, at: number): number {
  const extra = directory.readUInt32BE(at + layout.EXTRA_SIZE_AT);
  const name = directory.readUInt16BE(at + layout.NAME_SIZE_AT);
  return (
    Math.ceil((layout.ENTRY_FIXED_BYTES + extra + name) / layout.ENTRY_ALIGNMENT) * layout.ENTRY_ALIGNMENT
  );
}

/** Clusters of a bitmap's table and bits; where the table is not valid, none: leaks do no harm. */
async function bitmapClusters(
  host: BlockSource,
  bitmap: { readonly tableOffset: number; readonly tableEntries: number },
  clusterSize: number,
): Promise<number[]> {
  const length = bitmap.tableEntries * TABLE_ENTRY_BYTES;
  if (bitmap.tableOffset > host.size - length) return [];
  const table = Buffer.allocUnsafe(length);
  await host.read(bitmap.tableOffset, table);
  const bits: number[] = [];
  for (let at = 0; at < length; at += TABLE_ENTRY_BYTES) {
    const cluster = bitmapCluster(table.readUInt32BE(at), table.readUInt32BE(at + 4), clusterSize);
    if (cluster === undefined) return [];
    if (typeof cluster === 'number') bits.push(cluster);
  }
  return [...clustersOf(bitmap.tableOffset, length, clusterSize), ...bits];
}

function clustersOf(offset: number, length: number, clusterSize: number): number[] {
  return Array.from({ length: Math.ceil(length / clusterSize) }, (_, i) => offset + i * clusterSize);
}

/** Writes the bits and their table. Returns the entry of the directory. */
function writeBits(
  file: InPlaceFile,
  refcounts: Refcounts,
  { virtualSize, clusterBits }: Qcow2Header,
  { name, granularity, dirtyGranule }: FreshBitmap,
  image: string,
): Uint8Array {
  const clusterSize = 2 ** clusterBits;
  const bits = Math.ceil(virtualSize / granularity);
  const tableEntries = Math.ceil(bits / (clusterSize * 8));
  if (tableEntries === 0) throw unsupported(image, 'has no bytes to keep track of');
  if (tableEntries * clusterSize > layout.MAX_BITMAP_BYTES)
    throw unsupported(image, `is too large for a bitmap of one bit for ${granularity} bytes`);
  const table = Buffer.alloc(tableEntries * TABLE_ENTRY_BYTES);
  const index = Math.floor(dirtyGranule / (clusterSize * 8));
  const within = dirtyGranule % (clusterSize * 8);
  if (Math.min(bits - index * clusterSize * 8, clusterSize * 8) === 1) {
    table.writeBigUInt64BE(ALL_ONES, index * TABLE_ENTRY_BYTES);
  } else {
    const cluster = Buffer.alloc(clusterSize);
    cluster[within >>> 3]! |= 1 << (within & 7);
    const { offset } = refcounts.take();
    file.write(offset, cluster);
    table.writeBigUInt64BE(BigInt(offset), index * TABLE_ENTRY_BYTES);
  }
  const tableOffset = refcounts.takeRun(Math.ceil(bitmapTableBytes({ tableEntries }) / clusterSize));
  file.write(tableOffset, padded(table, clusterSize));
  return encodeBitmap({ name, granularity, auto: true, tableOffset, tableEntries });
}

function padded(bytes: Uint8Array, clusterSize: number): Buffer {
  return Buffer.concat([bytes], Math.ceil(bytes.length / clusterSize) * clusterSize);
}

/** @param added each in the place of one of its kind, or behind the others */
function headerWith(
  file: InPlaceFile,
  header: Qcow2Header,
  added: readonly HeaderExtension[],
  image: string,
): Buffer {
  const { list } = header.extensions;
  const kept = list.map((each) => added.find(({ type }) => type === each.type) ?? each);
  const extensions = [...kept, ...added.filter((each) => !kept.includes(each))];
  const changed = { extensions, backingName: storedBackingName(file) };
  const bytes = encodeChangedHeader(file, header, changed, () =>
    unsupported(image, 'its header has no room for a bitmap: give its backing file a shorter name'),
  );
  // What a newer QEMU keeps for itself would not be known to be true any more.
  const known = bytes.readBigUInt64BE(AUTOCLEAR_AT) & AUTOCLEAR_DATA_FILE_RAW;
  bytes.writeBigUInt64BE(known | AUTOCLEAR_BITMAPS, AUTOCLEAR_AT);
  return bytes;
}
