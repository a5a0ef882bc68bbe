import { objectId } from '../../objects/index.ts';
import type { DirtyRange } from '../../qcow2/index.ts';
import type { OpenDisk } from '../commit/disk.ts';
import type { Store } from '../store.ts';
import { allClusters, clusterLength, type StoredCluster } from '../version/disk-source.ts';
import type { VersionDisk } from '../version/version.ts';

/**
 * Whether an image still holds the last of a version's clusters that its bitmap has as clean. What a disk has lost when it was smaller for a while are zeros up to its end, so that this cluster is among them
 * unless all of them were zeros before, or have been written since.
 * @param ranges that the bitmap has as written, in order
 * @throws ImgstoreError as reading the image and the version's map does
 */
export async function holdsLastClean(
  store: Store,
  { source }: OpenDisk,
  before: VersionDisk,
  ranges: readonly DirtyRange[],
): Promise<boolean> {
  const last = await lastClean(store, before, ranges);
  if (last === undefined) return true;
  const bytes = Buffer.alloc(clusterLength(before, last.cluster));
  await source.read(last.cluster * before.clusterSize, bytes);
  return objectId('blob', bytes) === last.id;
}

async function lastClean(
  store: Store,
  disk: VersionDisk,
  ranges: readonly DirtyRange[],
): Promise<StoredCluster | undefined> {
  const { clusterSize, virtualSize } = disk;
  let end = Math.ceil(virtualSize / clusterSize);
  let next = ranges.length - 1;
  while (end > 0) {
    const found = await lastBefore(store, disk, end);
    if (found === undefined) return undefined;
    const from = found.cluster * clusterSize;
    while (next >= 0 && ranges[next]!.offset >= from + clusterSize) next--;
    const range = ranges[next];
    if (range === undefined || range.offset + range.length <= from) return found;
    end = Math.min(found.cluster, Math.floor(range.offset / clusterSize));
  }
  return undefined;
}

/** A disk's last cluster with data before one, found by halving: the empty parts of a map cost nothing. */
async function lastBefore(store: Store, disk: VersionDisk, end: number): Promise<StoredCluster | undefined> {
  let last: StoredCluster | undefined;
  let from = 0;
  let to = end;
  while (from < to) {
    const middle = Math.floor((from + to) / 2);
    const found = await firstFrom(store, disk, middle, to);
    if (found === undefined) {
      to = middle;
    } else {
      last = found;
      from = found.cluster + 1;
    }
  }
  return last;
}

async function firstFrom(
  store: Store,
  disk: VersionDisk,
  from: number,
  to: number,
): Promise<StoredCluster | undefined> {
  for await (const cluster of allClusters(store.objects, disk, from, to)) return cluster;
  return undefined;
}
