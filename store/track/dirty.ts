import type { BlockSource, ComparedExtent } from '../../block/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { BITMAP_FLAWS, type DirtyRange } from '../../qcow2/index.ts';
import type { OpenDisk } from '../commit/disk.ts';
import type { IngestBasis } from '../commit/ingest.ts';
import { presentOriginKey } from '../origin/key.ts';
import type { KnownFiles } from '../stat-cache.ts';
import type { Store } from '../store.ts';
import { ClusterCounter } from '../version/count.ts';
import { hasMap } from '../version/has-map.ts';
import { tryReadVersion, type VersionDisk } from '../version/version.ts';
import { isProvisional, parseTrackingName, type TrackedDisk, trackingName } from './name.ts';

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
 * @returns why it is not to be trusted, as a line; undefined when there is none
 * @throws ImgstoreError `BAD_IMAGE`
 */
export async function dirtySince(
  store: Store,
  disk: OpenDisk,
  tip: ObjectId | undefined,
): Promise<DirtyDisk | string | undefined> {
  const bitmaps = ((await disk.bitmaps?.()) ?? []).map((bitmap) => ({
    bitmap,
    name: bitmap.name,
    flaw: bitmap.flaw && BITMAP_FLAWS[bitmap.flaw],
  }));
  const image = { bitmaps, below: disk.bases[0]?.files, tells: tells(disk) };
  const trusted = await trustedBitmap(store, image, tip);
  if (trusted === undefined || typeof trusted === 'string') return trusted;
  return dirtyDisk(store, disk.source, trusted, trusted.bitmap.bitmap.dirty());
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
  /** The image's backing file with all below that; undefined for none. */
  readonly below: KnownFiles | undefined;
  /** As {@link tells} has it. */
  readonly tells: boolean;
}

/** A bitmap in which all is that was written since an image held a disk of a version, which is whole in the store. */
export interface TrustedBitmap<Bitmap> extends TrackedDisk {
  readonly bitmap: Bitmap;
  readonly before: VersionDisk;
}

/**
 * The bitmap of this store among those of an image.
 * @param tip of the branch that the disk is committed to; undefined for a new one
 * @returns why it is not to be trusted, as a line; undefined when there is none
 */
export async function trustedBitmap<Bitmap extends NamedBitmap>(
  store: Store,
  { bitmaps, below, tells }: ImageWithBitmaps<Bitmap>,
  tip: ObjectId | undefined,
): Promise<TrustedBitmap<Bitmap> | string | undefined> {
  const found = bitmaps.flatMap((bitmap) => {
    const tracked = parseTrackingName(bitmap.name);
    return tracked === undefined ? [] : [{ bitmap, tracked }];
  });
  if (found.length === 0) return undefined;
  if (found.some(({ tracked }) => isProvisional(tracked)))
    return 'a commit of the machine while it ran did not come to its end';
  if (found.length > 1) return 'there are several';
  const { bitmap, tracked } = found[0]!;
  const { commit, disk: name } = tracked;
  const key = await presentOriginKey(store);
  const expected = key === undefined ? undefined : trackingName(key, tracked, below);
  if (expected !== bitmap.name || !tells) return 'another store made it, or the backing file has changed';
  if (bitmap.flaw !== undefined) return bitmap.flaw;
  if (tip !== undefined && tip !== commit)
    return `it began at version ${commit.slice(0, 12)}, and the branch has gone on since`;
  const before = tryReadVersion(store.objects, commit)?.disks.find((each) => each.name === name);
  if (
    before === undefined ||
    before.clusterSize !== store.clusterSize ||
    !(await hasMap(store.objects, before.map))
  )
    return `version ${commit.slice(0, 12)} is not whole in this store`;
  return { ...tracked, bitmap, before };
}

/**
 * What must be read of a disk.
 * @param dirty what the bitmap has as written, ascending
 * @returns why the bitmap is of no use after all, as a line
 */
export async function dirtyDisk(
  store: Store,
  source: BlockSource,
  { commit, disk, before }: Omit<TrustedBitmap<unknown>, 'bitmap'>,
  dirty: AsyncIterable<DirtyRange>,
): Promise<DirtyDisk | string> {
  const ranges = await gather(dirty);
  if (ranges === undefined) return 'most of the disk was written';
  if (!marksEnd(ranges, before, source.size)) return 'the disk was made smaller meanwhile';
  return { commit, disk, basis: await basisOf(store, source, before, ranges), dirtyBytes: sum(ranges) };
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
 * The last granule is dirty from the start. QEMU cuts a bitmap with the disk, and grows it by clean bits, though the bytes there are other ones then: so a disk that was smaller for a while shows.
 */
function marksEnd(ranges: readonly DirtyRange[], { virtualSize }: VersionDisk, size: number): boolean {
  const last = virtualSize - 1;
  return size >= virtualSize && ranges.some(({ offset, length }) => offset <= last && last < offset + length);
}

async function basisOf(
  store: Store,
  source: BlockSource,
  before: VersionDisk,
  ranges: readonly DirtyRange[],
): Promise<IngestBasis> {
  const { virtualSize, map } = before;
  const clusters = await new ClusterCounter(store.objects.readTree).count(before);
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
