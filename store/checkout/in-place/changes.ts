import { isZero } from '../../../block/index.ts';
import { clusterCount } from '../../../objects/index.ts';
import { diffAgainstSource, type SourceChange } from '../../compare/source-diff.ts';
import { diskOfFiles } from '../../version/disk-of-files.ts';
import { clusterLength } from '../../version/disk-source.ts';
import { hasMap } from '../../version/has-map.ts';
import { diffDiskMaps } from '../../version/map-errors.ts';
import type { VersionDisk } from '../../version/version.ts';
import { storedAt } from '../changes.ts';
import type { InPlaceJob } from './job.ts';

/** The clusters in which a target differs from the version, in order, each counted. What it holds is known from the stat cache, or read and hashed on all cores. */
export async function* targetChanges(job: InPlaceJob): AsyncGenerator<SourceChange> {
  const { disk, counts } = job;
  const end = clusterCount(disk.virtualSize, disk.clusterSize);
  for await (const change of withTail(job, end - 1, differences(job))) {
    // A version that was longer has more clusters.
    if (change.cluster >= end) return;
    counts.changedBytes += clusterLength(disk, change.cluster);
    yield change;
  }
}

async function* differences(job: InPlaceJob): AsyncGenerator<SourceChange> {
  const { store, disk, target, workers, monitor, counts } = job;
  const base = await knownDisk(job);
  if (base !== undefined) {
    for await (const { cluster, before, after } of diffDiskMaps(store.objects, base, disk))
      yield { cluster, stored: after, hasData: before !== undefined };
    return;
  }
  const onProgress: typeof monitor.onProgress = (progress) => {
    counts.readBytes = progress.done;
    monitor.onProgress?.(progress);
  };
  yield* diffAgainstSource(store.objects, disk, target.present.source, workers, { ...monitor, onProgress });
}

/** The disk of a version that the target holds and has held unchanged since. */
async function knownDisk({ store, disk, target }: InPlaceJob): Promise<VersionDisk | undefined> {
  const base = await diskOfFiles(store, target.present.files);
  if (base?.clusterSize !== disk.clusterSize || base.virtualSize !== target.present.source.size)
    return undefined;
  return (await hasMap(store.objects, base.map)) ? base : undefined;
}

/** A qcow2 has whole sectors: where the version ends within one, the rest must be zeros, or the last cluster counts as changed. */
async function* withTail(
  job: InPlaceJob,
  last: number,
  changes: AsyncIterable<SourceChange>,
): AsyncGenerator<SourceChange> {
  const isClean = await hasCleanTail(job);
  let seen = -1;
  for await (const change of changes) {
    yield change;
    seen = change.cluster;
  }
  if (!isClean && seen < last) yield { cluster: last, stored: await storedAt(job, last), hasData: true };
}

async function hasCleanTail({ disk, target }: InPlaceJob): Promise<boolean> {
  if (target.format === 'raw') return true;
  const { source } = target.present;
  const tail = Buffer.alloc(source.size - disk.virtualSize);
  await source.read(disk.virtualSize, tail);
  return isZero(tail);
}
