import type { ComparedExtent } from '../../block/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { BITMAP_FLAWS, type DirtyRange, type PersistentBitmap } from '../../qcow2/index.ts';
import type { OpenDisk } from '../commit/disk.ts';
import type { IngestBasis } from '../commit/ingest.ts';
import { presentOriginKey } from '../origin/key.ts';
import type { Store } from '../store.ts';
import { ClusterCounter } from '../version/count.ts';
import { hasMap } from '../version/has-map.ts';
import { tryReadDisk, type VersionDisk } from '../version/version.ts';
import { holdsLastClean } from './last-clean.ts';
import { trackingMark } from './mark.ts';
import { parseTrackingName, type TrackedDisk, trackingName } from './name.ts';

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
  const sealed = await sealedBitmap(store, disk);
  if (sealed === undefined || typeof sealed === 'string') return sealed;
  const { bitmap, tracked } = sealed;
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
  const ranges = await dirtyRangesOf(bitmap);
  if (ranges === undefined) return 'most of the disk was written';
  if (!marksEnd(ranges, before, disk.source.size) || !(await holdsLastClean(store, disk, before, ranges)))
    return 'the disk was made smaller meanwhile';
  return { ...tracked, basis: await basisOf(store, disk, before, ranges), dirtyBytes: sum(ranges) };
}

/** A bitmap of this store that QEMU has kept, and what the image held when it began. */
interface SealedBitmap {
  readonly bitmap: PersistentBitmap;
  readonly tracked: TrackedDisk;
}

/** The bitmap of an image by which this store keeps track of it; as a line why it is not to be trusted; undefined when there is none. */
async function sealedBitmap(store: Store, disk: OpenDisk): Promise<SealedBitmap | string | undefined> {
  const bitmaps = (await disk.bitmaps?.()) ?? [];
  const found = bitmaps.flatMap((bitmap) => {
    const tracked = parseTrackingName(bitmap.name);
    return tracked === undefined ? [] : [{ bitmap, tracked }];
  });
  const [ours, ...more] = found;
  if (ours === undefined) return undefined;
  if (more.length > 0) return 'there are several';
  if ((await expectedName(store, disk, ours.tracked)) !== ours.bitmap.name)
    return 'it is of another store or another image, or the backing file has changed';
  return ours.bitmap.flaw === undefined ? ours : BITMAP_FLAWS[ours.bitmap.flaw];
}

/** Whether the bitmap of an image began at just that version: then it goes on. */
export async function beganAt(store: Store, disk: OpenDisk, held: TrackedDisk): Promise<boolean> {
  const sealed = await sealedBitmap(store, disk);
  if (sealed === undefined || typeof sealed === 'string') return false;
  return sealed.tracked.commit === held.commit && sealed.tracked.disk === held.disk;
}

/** The name that a bitmap which this store put into an image has, if nothing has changed that it does not show; undefined when that cannot be told. */
async function expectedName(store: Store, disk: OpenDisk, held: TrackedDisk): Promise<string | undefined> {
  const key = await presentOriginKey(store);
  const mark = trackingMark(disk.header?.extensions.list ?? []);
  if (key === undefined || mark === undefined || !tells(disk)) return undefined;
  return trackingName(key, held, { mark, below: disk.bases[0]?.files });
}

/** Whether a change of the files below an image shows: it does not on block devices, and there is no file where a stored version stands in. */
export function tells({ files, bases, facts, onto }: OpenDisk): boolean {
  return files !== undefined && onto === undefined && ((facts.layers ?? 1) === 1 || bases.length > 0);
}

/** Ranges that the bitmap has as written; undefined for too many. */
async function dirtyRangesOf(bitmap: PersistentBitmap): Promise<DirtyRange[] | undefined> {
  const ranges: DirtyRange[] = [];
  for await (const range of bitmap.dirty()) {
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

async function basisOf(
  store: Store,
  { source }: OpenDisk,
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
  source: OpenDisk['source'],
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
