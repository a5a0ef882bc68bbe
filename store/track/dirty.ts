import type { BlockSource, ComparedExtent } from '../../block/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { BITMAP_FLAWS, type DirtyRange, type PersistentBitmap } from '../../qcow2/index.ts';
import type { OpenDisk } from '../commit/disk.ts';
import type { IngestBasis } from '../commit/ingest.ts';
import { presentOriginKey } from '../origin/key.ts';
import type { KnownFile } from '../stat-cache.ts';
import type { Store } from '../store.ts';
import { ClusterCounter } from '../version/count.ts';
import { hasMap } from '../version/has-map.ts';
import { tryReadDisk, type VersionDisk } from '../version/version.ts';
import { holdsLastClean } from './last-clean.ts';
import { markOf } from './mark.ts';
import {
  type BitmapPlace,
  isProvisional,
  parseTrackingName,
  type TrackedDisk,
  trackingName,
} from './name.ts';

/** More than these are not worth their memory: then most of the disk was written. */
const MOST_RANGES = 1_000_000;

/** What a bitmap says of a disk: only what was written since it held a version needs to be read. */
export interface DirtyDisk extends TrackedDisk {
  readonly basis: IngestBasis;
  /** Bytes that were written, at most. */
  readonly dirtyBytes: number;
}

/**
 * Looks for a bitmap of this store in an image.
 * @param tip of the branch that the disk is committed to; undefined for a new one
 * @param noted what the image held at some time, if that is known
 * @returns why it is not to be trusted, as a line; undefined when there is none
 * @throws ImgstoreError `BAD_IMAGE`
 */
export async function dirtySince(
  store: Store,
  disk: OpenDisk,
  tip: ObjectId | undefined,
  noted?: KnownFile,
): Promise<DirtyDisk | string | undefined> {
  const { written } = disk;
  if (written !== undefined) {
    const before = await wholeDisk(store, written.since, tip);
    if (typeof before === 'string') return before;
    return dirtyDisk(store, disk.source, { ...written.since, before, isOurs: false }, written.dirty());
  }
  const trusted = await trustedBitmap(store, await bitmapsOf(disk), tip);
  if (trusted === undefined || typeof trusted === 'string') return trusted;
  return dirtyDisk(store, disk.source, trusted, trusted.bitmap.bitmap.dirty(), noted);
}

/** The disk of a version that a bitmap begins at; as a line why that is of no use. */
async function wholeDisk(
  store: Store,
  tracked: TrackedDisk,
  tip: ObjectId | undefined,
): Promise<VersionDisk | string> {
  const { commit } = tracked;
  if (tip !== undefined && tip !== commit)
    return `it began at version ${commit.slice(0, 12)}, and the branch has gone on since`;
  const before = tryReadDisk(store.objects, tracked);
  if (
    before === undefined ||
    before.clusterSize !== store.clusterSize ||
    !(await hasMap(store.objects, before.map))
  )
    return `version ${commit.slice(0, 12)} is not whole in this store`;
  return before;
}

/** Whether the bitmap of an image began at just that version: then it goes on. */
export async function beganAt(store: Store, disk: OpenDisk, held: TrackedDisk): Promise<boolean> {
  const sealed = await sealedBitmap(store, await bitmapsOf(disk));
  if (sealed === undefined || typeof sealed === 'string') return false;
  return sealed.tracked.commit === held.commit && sealed.tracked.disk === held.disk;
}

async function bitmapsOf(
  disk: OpenDisk,
): Promise<ImageWithBitmaps<NamedBitmap & { readonly bitmap: PersistentBitmap }>> {
  const bitmaps = ((await disk.bitmaps?.()) ?? []).map((bitmap) => ({
    bitmap,
    name: bitmap.name,
    flaw: bitmap.flaw && BITMAP_FLAWS[bitmap.flaw],
  }));
  return { bitmaps, place: bitmaps.length === 0 ? undefined : await placeOf(disk) };
}

/** What is said of a bitmap, wherever it is kept. */
export interface NamedBitmap {
  readonly name: string;
  /** Why it does not have all that was written, as a part of a line. */
  readonly flaw: string | undefined;
}

/** An image in whose bitmaps one of this store is looked for. */
export interface ImageWithBitmaps<Bitmap> {
  readonly bitmaps: readonly Bitmap[];
  /** As {@link placeOf} has it. */
  readonly place: BitmapPlace | undefined;
}

/** A bitmap of this store that QEMU has kept, and what the image held when it began. */
interface SealedBitmap<Bitmap> {
  readonly bitmap: Bitmap;
  readonly tracked: TrackedDisk;
}

/** The bitmap of an image by which this store keeps track of it; as a line why it is not to be trusted; undefined when there is none. */
async function sealedBitmap<Bitmap extends NamedBitmap>(
  store: Store,
  { bitmaps, place }: ImageWithBitmaps<Bitmap>,
): Promise<SealedBitmap<Bitmap> | string | undefined> {
  const found = bitmaps.flatMap((bitmap) => {
    const tracked = parseTrackingName(bitmap.name);
    return tracked === undefined ? [] : [{ bitmap, tracked }];
  });
  if (found.some(({ tracked }) => isProvisional(tracked)))
    return 'a commit of the machine while it ran did not come to its end';
  const [ours, ...more] = found;
  if (ours === undefined) return undefined;
  if (more.length > 0) return 'there are several';
  const key = await presentOriginKey(store);
  const expected =
    key === undefined || place === undefined ? undefined : trackingName(key, ours.tracked, place);
  if (expected !== ours.bitmap.name)
    return 'it is of another store or another image, or the backing file has changed';
  return ours.bitmap.flaw ?? ours;
}

/** A bitmap in which all is that was written since an image held a disk of a version, which is whole in the store. */
export interface TrustedBitmap<Bitmap> extends TrackedDisk {
  readonly bitmap: Bitmap;
  readonly before: VersionDisk;
  /** Its last granule was dirty when it began. */
  readonly isOurs: boolean;
}

/**
 * The bitmap of this store among those of an image.
 * @param tip of the branch that the disk is committed to; undefined for a new one
 * @returns why it is not to be trusted, as a line; undefined when there is none
 */
export async function trustedBitmap<Bitmap extends NamedBitmap>(
  store: Store,
  image: ImageWithBitmaps<Bitmap>,
  tip: ObjectId | undefined,
): Promise<TrustedBitmap<Bitmap> | string | undefined> {
  const sealed = await sealedBitmap(store, image);
  if (sealed === undefined || typeof sealed === 'string') return sealed;
  const { bitmap, tracked } = sealed;
  const before = await wholeDisk(store, tracked, tip);
  return typeof before === 'string' ? before : { ...tracked, bitmap, before, isOurs: true };
}

/**
 * What must be read of a disk.
 * @param dirty what the bitmap has as written, ascending
 * @param noted as for {@link dirtySince}
 * @returns why the bitmap is of no use after all, as a line
 */
export async function dirtyDisk(
  store: Store,
  source: BlockSource,
  { commit, disk, before, isOurs }: Omit<TrustedBitmap<unknown>, 'bitmap'>,
  dirty: AsyncIterable<DirtyRange>,
  noted?: KnownFile,
): Promise<DirtyDisk | string> {
  const ranges = await gather(dirty);
  if (ranges === undefined) return 'most of the disk was written';
  const isCut = isOurs ? !marksEnd(ranges, before, source.size) : source.size < before.virtualSize;
  if (isCut || !(await holdsLastClean(store, source, before, ranges)))
    return 'the disk was made smaller meanwhile';
  // To count them takes as long as all the rest, or longer: all nodes of the map are read.
  const isNoted = noted?.commit === commit && noted.disk === disk;
  const clusters = isNoted ? noted.clusters : await new ClusterCounter(store.objects.readTree).count(before);
  const basis = basisOf(source, before, clusters, ranges);
  return { commit, disk, basis, dirtyBytes: sum(ranges) };
}

/** Where bitmaps of an image are good; undefined when that cannot be told. */
export async function placeOf(disk: OpenDisk): Promise<BitmapPlace | undefined> {
  const mark = tells(disk) ? await markOf(disk) : undefined;
  return mark && { mark, below: disk.bases[0]?.files };
}

/** Whether a change of the files below an image shows: it does not on block devices, and there is no file where a stored version stands in. */
export function tells({ files, bases, facts, onto }: OpenDisk): boolean {
  return files !== undefined && onto === undefined && ((facts.layers ?? 1) === 1 || bases.length > 0);
}

/** Ranges that a bitmap has as written; undefined for too many. */
async function gather(dirty: AsyncIterable<DirtyRange>): Promise<DirtyRange[] | undefined> {
  const ranges: DirtyRange[] = [];
  for await (const range of dirty) {
    ranges.push(range);
    if (ranges.length > MOST_RANGES) return undefined;
  }
  return ranges;
}

/**
 * The last granule is dirty from the start. QEMU cuts a bitmap with the disk, and grows it by clean bits, though the bytes there are other ones then: so a disk that was smaller for a while shows, if nobody has
 * written to its end since; {@link holdsLastClean} finds that.
 */
function marksEnd(ranges: readonly DirtyRange[], { virtualSize }: VersionDisk, size: number): boolean {
  const last = virtualSize - 1;
  return size >= virtualSize && ranges.some(({ offset, length }) => offset <= last && last < offset + length);
}

function basisOf(
  source: BlockSource,
  before: VersionDisk,
  clusters: number,
  ranges: readonly DirtyRange[],
): IngestBasis {
  const { virtualSize, map } = before;
  const changed = withGrowth(ranges, virtualSize, source.size);
  return { held: { virtualSize, map, clusters }, extents: () => extentsOf(source, changed) };
}

/** Of what a disk has grown by, nothing is known. */
function withGrowth(ranges: readonly DirtyRange[], before: number, size: number): readonly DirtyRange[] {
  if (size <= before) return ranges;
  const within = ranges.flatMap(({ offset, length }) =>
    offset >= before ? [] : [{ offset, length: Math.min(length, before - offset) }],
  );
  return [...within, { offset: before, length: size - before }];
}

async function* extentsOf(
  source: BlockSource,
  changed: readonly DirtyRange[],
): AsyncGenerator<ComparedExtent> {
  let end = 0;
  for (const { offset, length } of changed) {
    if (offset > end) yield { offset: end, length: offset - end, kind: 'same' };
    yield* source.extents(offset, length);
    end = offset + length;
  }
  if (end < source.size) yield { offset: end, length: source.size - end, kind: 'same' };
}

function sum(ranges: readonly DirtyRange[]): number {
  return ranges.reduce((bytes, { length }) => bytes + length, 0);
}
