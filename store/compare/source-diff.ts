import { type BlockSource, isZero, ResizedSource } from '../../block/index.ts';
import type { ObjectId, SkipNode } from '../../objects/index.ts';
import { wholeSectors } from '../../qcow2/index.ts';
import { hashBatches } from '../hashed-batches.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import { allClusters } from '../version/disk-source.ts';
import { ignore, refuseBeyondEnd } from '../version/map-errors.ts';
import type { VersionDisk } from '../version/version.ts';
import type { ClusterWorkers } from '../workers/pool.ts';

/** A cluster whose bytes in a version and in a disk differ. */
export interface SourceChange {
  readonly cluster: number;
  /** What the version has; undefined for zeros. */
  readonly stored: ObjectId | undefined;
  /** Whether the disk has anything but zeros there. */
  readonly hasData: boolean;
}

/**
 * The clusters in which a version and some disk differ, in order. The disk is hashed on all cores and its ids are compared: nothing of the
 * version is inflated. The disk counts as if it were as long as the version's.
 * @param skip called for nodes of the version's map that cannot be read, which then count as zeros; else they are thrown for
 */
export async function* diffAgainstSource(
  database: ObjectDatabase,
  disk: VersionDisk,
  source: BlockSource,
  workers: ClusterWorkers,
  monitor: Monitor,
  skip?: SkipNode,
): AsyncGenerator<SourceChange> {
  await refuseBeyondEnd(database, disk, skip && ignore);
  const { clusterSize } = disk;
  const aligned = new ResizedSource(source, disk.virtualSize);
  const stored = allClusters(database, disk, undefined, undefined, skip);
  let next = await stored.next();
  let done = 0;
  for await (const { batch, ids } of hashBatches(aligned, clusterSize, workers)) {
    throwIfStopped(monitor);
    for (const [i, cluster] of batch.clusters.entries()) {
      for (; !next.done && next.value.cluster < cluster; next = await stored.next()) {
        yield { cluster: next.value.cluster, stored: next.value.id, hasData: false };
      }
      const found = ids[i];
      const expected = !next.done && next.value.cluster === cluster ? next.value.id : undefined;
      if (expected !== undefined) next = await stored.next();
      if (found !== expected) yield { cluster, stored: expected, hasData: found !== undefined };
    }
    done += batch.length;
    monitor.onProgress?.({ done, total: Math.max(done, source.size) });
  }
  for (; !next.done; next = await stored.next()) {
    yield { cluster: next.value.cluster, stored: next.value.id, hasData: false };
  }
}

/** Whether some disk is a version's: as long, in whole sectors, and the same bytes. All of it is read, until something differs. */
export async function isSameDisk(
  database: ObjectDatabase,
  disk: VersionDisk,
  source: BlockSource,
  workers: ClusterWorkers,
  monitor: Monitor,
): Promise<boolean> {
  if (wholeSectors(source.size) !== wholeSectors(disk.virtualSize)) return false;
  for await (const _ of diffAgainstSource(database, disk, source, workers, monitor)) return false;
  return true;
}

/** The first byte at or behind `offset` that is not zero, or undefined. */
export async function firstDataFrom(source: BlockSource, offset: number): Promise<number | undefined> {
  const chunk = new Uint8Array(1 << 20);
  for await (const extent of source.extents(offset, source.size - offset)) {
    if (extent.kind !== 'data') continue;
    for (let at = extent.offset; at < extent.offset + extent.length; at += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, extent.offset + extent.length - at));
      await source.read(at, part);
      if (!isZero(part)) return at + part.findIndex((byte) => byte !== 0);
    }
  }
  return undefined;
}
