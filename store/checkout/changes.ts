import { ImgstoreError } from '../../errors/index.ts';
import { clusterCount, type ObjectId } from '../../objects/index.ts';
import { wholeSectors } from '../../qcow2/index.ts';
import type { OpenDisk } from '../commit/open-disk.ts';
import { diffAgainstSource } from '../compare/source-diff.ts';
import { allClusters } from '../version/disk-source.ts';
import { hasMap } from '../version/has-map.ts';
import { diffDiskMaps, ignore } from '../version/map-errors.ts';
import type { VersionDisk } from '../version/version.ts';
import { type CheckoutJob, type ImageCluster, skipNodes } from './job.ts';

/** The clusters that an overlay on another version's disk needs. @throws ImgstoreError `UNSUPPORTED` when their clusters differ in size. */
export async function* changesAgainstVersion(
  job: CheckoutJob,
  base: VersionDisk,
): AsyncGenerator<ImageCluster> {
  const { store, disk } = job;
  if (base.clusterSize !== disk.clusterSize) {
    throw new ImgstoreError(
      'UNSUPPORTED',
      `the versions have clusters of ${base.clusterSize} and ${disk.clusterSize} bytes: use --backing none`,
    );
  }
  for await (const { cluster, after } of diffDiskMaps(store.objects, base, disk, skipNodes(job)))
    yield { cluster, id: after };
}

/**
 * The clusters that an overlay on a file needs. Where it is not known what the file holds, that is read and compared, so a wrong file costs room, never wrong bytes.
 * @param known what the file holds
 */
export async function* changesAgainstFile(
  job: CheckoutJob,
  file: OpenDisk,
  known: VersionDisk | undefined,
): AsyncGenerator<ImageCluster> {
  const { objects } = job.store;
  const skip = skipNodes(job);
  // A part of the version's map may be lost: the file itself still has the bytes.
  if (known !== undefined && known.clusterSize === job.disk.clusterSize && (await canCompare(job, known))) {
    yield* changesAgainstVersion(job, known);
    return file.refuseChanged();
  }
  const monitor = { signal: job.monitor.signal };
  let last = -1;
  for await (const change of diffAgainstSource(objects, job.disk, file.source, job.workers, monitor, skip)) {
    yield { cluster: change.cluster, id: change.stored };
    last = change.cluster;
  }
  const end = endThatShows(job.disk, file.source.size);
  if (end !== undefined && end !== last) yield { cluster: end, id: await storedAt(job, end) };
  await file.refuseChanged();
}

/** Whether the map of a version that an overlay is to stand on can be read, so that what differs is known. */
export async function canCompare({ store, damage }: CheckoutJob, base: VersionDisk): Promise<boolean> {
  if (!(await hasMap(store.objects, base.map))) return false;
  if (damage === undefined) return true;
  let isWhole = true;
  const onDamage = () => {
    isWhole = false;
  };
  for await (const _ of allClusters(store.objects, base, undefined, undefined, onDamage)) if (!isWhole) break;
  return isWhole;
}

/**
 * The last cluster, when a longer backing file would show behind the disk's end: an overlay has whole sectors.
 */
function endThatShows({ virtualSize, clusterSize }: VersionDisk, backingSize: number): number | undefined {
  const shows = wholeSectors(virtualSize) > virtualSize && backingSize > virtualSize;
  return shows ? clusterCount(virtualSize, clusterSize) - 1 : undefined;
}

/** What a disk has at a cluster; undefined for zeros. */
export async function storedAt(
  { store, disk, damage }: Pick<CheckoutJob, 'store' | 'disk'> & Partial<Pick<CheckoutJob, 'damage'>>,
  cluster: number,
): Promise<ObjectId | undefined> {
  const skip = damage === undefined ? undefined : ignore;
  for await (const { id } of allClusters(store.objects, disk, cluster, cluster + 1, skip)) return id;
  return undefined;
}
