import { ImgstoreError } from '../../errors/index.ts';
import type { MapChange, ObjectId } from '../../objects/index.ts';
import type { Store } from '../store.ts';
import { diffDiskMaps } from '../version/map-errors.ts';
import { readVersion, type Version, type VersionDisk } from '../version/version.ts';

/** A range of a disk that differs between two versions. `added`: zeros before, or not
 * there; `removed`: zeros afterwards, or no longer there. */
export interface RangeChange {
  readonly disk: string;
  /** Bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  readonly kind: 'added' | 'removed' | 'changed';
}

/**
 * The ranges that differ between two versions, in whole clusters, disk by disk in the order of the newer version, neighbours
 * of one kind joined. Costs what differs, not what the disks hold.
 * @throws ImgstoreError `UNSUPPORTED` when the versions have clusters of different sizes
 */
export async function* diffVersions(
  store: Store,
  before: string,
  after: string,
): AsyncGenerator<RangeChange> {
  const [old, current] = [readVersion(store.objects, before), readVersion(store.objects, after)];
  requireSameClusters(old, current);
  const names = new Set([...current.disks, ...old.disks].map((disk) => disk.name));
  for (const name of names) yield* diffDisks(store, name, findOrEmpty(old, name), findOrEmpty(current, name));
}

function requireSameClusters(before: Version, after: Version): void {
  const [a, b] = [before.record.clusterSize, after.record.clusterSize];
  if (a === b) return;
  throw new ImgstoreError(
    'UNSUPPORTED',
    `the versions have clusters of ${a} and ${b} bytes: use 'imgstore compare'`,
    { before: a, after: b },
  );
}

/** A disk that a version does not have counts as one without bytes. */
function findOrEmpty(version: Version, name: string): VersionDisk {
  const { clusterSize } = version.record;
  return (
    version.disks.find((disk) => disk.name === name) ?? {
      version: version.id,
      name,
      map: { id: undefined, levels: 1 },
      virtualSize: 0,
      clusterSize,
      source: {},
    }
  );
}

/** What both disks have is compared by their maps; what only the longer one has is one range, whatever it holds. */
async function* diffDisks(
  store: Store,
  disk: string,
  before: VersionDisk,
  after: VersionDisk,
): AsyncGenerator<RangeChange> {
  const common = Math.min(before.virtualSize, after.virtualSize);
  let open: RangeChange | undefined;
  for await (const change of diffDiskMaps(store.objects, before, after)) {
    const kind = change.before === undefined ? 'added' : change.after === undefined ? 'removed' : 'changed';
    const offset = change.cluster * after.clusterSize;
    if (offset >= common) break;
    const length = Math.min(after.clusterSize, common - offset);
    // A cluster that was or became the last, shorter one has another id even where its bytes are the same.
    if (length < after.clusterSize && (await sameStart(store, change, length))) break;
    if (open !== undefined && open.kind === kind && open.offset + open.length === offset) {
      open = { ...open, length: open.length + length };
    } else {
      if (open !== undefined) yield open;
      open = { disk, offset, length, kind };
    }
  }
  if (open !== undefined) yield open;
  if (after.virtualSize > common)
    yield { disk, offset: common, length: after.virtualSize - common, kind: 'added' };
  if (before.virtualSize > common)
    yield { disk, offset: common, length: before.virtualSize - common, kind: 'removed' };
}

/** Whether the first bytes of a cluster are as before. */
async function sameStart(store: Store, { before, after }: MapChange, length: number): Promise<boolean> {
  const read = async (id: ObjectId | undefined) =>
    id === undefined
      ? Buffer.alloc(length)
      : (await store.objects.readBroughtAs('blob', id)).subarray(0, length);
  const [a, b] = await Promise.all([read(before), read(after)]);
  return Buffer.compare(a, b) === 0;
}
