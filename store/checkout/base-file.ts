import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { counted, ImgstoreError } from '../../errors/index.ts';
import { type ObjectId, parseCommit } from '../../objects/index.ts';
import { openDisk } from '../commit/open-disk.ts';
import { isSameDisk } from '../compare/source-diff.ts';
import { tryReadVersion, type VersionDisk } from '../version/version.ts';
import { canCompare, changesAgainstVersion } from './changes.ts';
import { findForks } from './forks.ts';
import { type CheckoutJob, countClusters } from './job.ts';
import { writeFlat, writeOverlay } from './write-file.ts';
import type { BackingFile } from './write-qcow2.ts';

/** Files in a chain that we write, the top not counted; what lies further back is flattened into the lowest. QEMU opens every file of a chain. */
export const MOST_BASES = 64;

/** Which earlier versions get files of their own. */
export interface ChainPlan {
  /** Only those at which history forks, so that siblings share them; else all. */
  readonly forksOnly: boolean;
  /** How many at most, from 1 to {@link MOST_BASES}; what lies further back is flattened into the lowest. As many as there can be when undefined. */
  readonly depth: number | undefined;
}

/** A file that holds an earlier version, or will. */
export interface BaseFile {
  readonly path: string;
  readonly commit: ObjectId;
  readonly disk: VersionDisk;
}

/**
 * The files that a job's file is to stand on, oldest first, in the folder of the output: of first parents that have the same disk in clusters
 * of the same size, and of the version itself where history forks. Their names come from the commits alone, so siblings share them.
 */
export async function baseFiles(
  job: CheckoutJob,
  { forksOnly, depth = MOST_BASES }: ChainPlan,
): Promise<BaseFile[]> {
  const { store, commit, disk, path } = job;
  const forks = forksOnly ? await findForks(store) : undefined;
  const found: BaseFile[] = [];
  const first = parseCommit(store.objects.readAs('commit', commit)).parents[0];
  let at = forks?.has(commit) ? commit : first;
  while (at !== undefined && found.length < depth) {
    // What imgstore did not make, or what is damaged, ends the chain: the oldest file of it is whole.
    const version = tryReadVersion(store.objects, at);
    const same = version?.disks.find((each) => each.name === disk.name);
    if (version === undefined || same === undefined || same.clusterSize !== disk.clusterSize) break;
    if (forks === undefined || forks.has(at)) {
      if (job.damage !== undefined && !(await canCompare(job, same))) break;
      found.push({ path: join(dirname(resolve(path)), baseName(at, same)), commit: at, disk: same });
    }
    at = version.commit.parents[0];
  }
  return found.reverse();
}

/**
 * Writes the base files that are not there yet.
 * @throws ImgstoreError `EXISTS` when a file of that name holds something else, or stands on more files than there may be
 */
export async function writeBaseFiles(
  job: CheckoutJob,
  bases: readonly BaseFile[],
  { depth }: ChainPlan,
): Promise<void> {
  for (const [i, base] of bases.entries()) {
    const clusters = await countClusters(job.store, base.disk, job.damage !== undefined);
    const baseJob = { ...job, ...base, clusters, force: false, readOnly: true };
    const mostLayers = depth === undefined ? undefined : i + 1 + (depth - bases.length);
    const check = () => refuseOther(baseJob, mostLayers);
    if (existsSync(base.path)) {
      // It may stand on one that was lost and is made again.
      await job.outputs.publish();
      await check();
    } else {
      await writeBase({ ...baseJob, onTaken: check }, bases[i - 1]);
    }
  }
}

async function writeBase(job: CheckoutJob, below: BaseFile | undefined): Promise<void> {
  if (below === undefined) {
    await writeFlat(job, 'qcow2');
  } else {
    const backing = backingOf(below);
    await writeOverlay(job, changesAgainstVersion(job, below.disk), backing);
  }
}

/** A base file as the header of a file beside it names it. */
export function backingOf({ path, commit, disk }: BaseFile): BackingFile {
  return { file: basename(path), format: 'qcow2', holds: { commit, disk: disk.name } };
}

export function baseName(commit: ObjectId, disk: VersionDisk): string {
  return `base-${commit.slice(0, 12)}-${disk.name}.qcow2`;
}

/**
 * A file that is in a base's place must hold just its bytes: known by the stat cache, else compared.
 * @param mostLayers files that it may consist of, itself and those below it
 */
async function refuseOther(job: CheckoutJob, mostLayers = Number.POSITIVE_INFINITY): Promise<void> {
  const file = await openDisk(job.path, { allowBacking: job.allowBacking });
  try {
    const layers = Number(file.facts.layers ?? 1);
    if (layers > mostLayers) {
      throw new ImgstoreError(
        'EXISTS',
        `${job.path}: is in the way: it stands on ${counted(layers - 1, 'more file')}, where --depth leaves room for ${mostLayers - 1}: check out into another folder, or move it away`,
        { path: job.path, layers, most: mostLayers },
      );
    }
    const known = file.files === undefined ? undefined : await job.store.statCache.get(file.files);
    if (known?.commit === job.commit && known.disk === job.disk.name) return;
    const monitor = { signal: job.monitor.signal };
    if (await isSameDisk(job.store.objects, job.disk, file.source, job.workers, monitor)) return;
    throw new ImgstoreError(
      'EXISTS',
      `${job.path}: is in the way: it does not hold version ${job.commit.slice(0, 12)}: move it away`,
      {
        path: job.path,
        commit: job.commit,
      },
    );
  } finally {
    await file.source.close();
  }
}
