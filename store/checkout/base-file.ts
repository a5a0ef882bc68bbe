import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { ImgstoreError } from '../../errors/index.ts';
import { type ObjectId, parseCommit } from '../../objects/index.ts';
import { openDisk } from '../commit/open-disk.ts';
import { diffAgainstSource } from '../compare/source-diff.ts';
import { tryReadVersion, type VersionDisk } from '../version/version.ts';
import { canCompare, changesAgainstVersion } from './changes.ts';
import { type CheckoutJob, countClusters } from './job.ts';
import { writeFlat, writeOverlay } from './write-file.ts';

/** Files in a chain that we write, the top not counted; what lies further back is flattened into the lowest. QEMU opens every file of a chain. */
const MOST_BASES = 64;

/** A file that holds an earlier version, or will. */
export interface BaseFile {
  readonly path: string;
  readonly commit: ObjectId;
  readonly disk: VersionDisk;
}

/**
 * The files of the versions before a job's: one for each first parent that has the same disk in clusters of the same size, oldest first, in
 * the folder of the output. Their names come from the commits alone, so siblings share them.
 */
export async function baseFiles(job: CheckoutJob): Promise<BaseFile[]> {
  const { store, commit, disk, path } = job;
  const found: BaseFile[] = [];
  let at = parseCommit(store.objects.readAs('commit', commit)).parents[0];
  while (at !== undefined && found.length < MOST_BASES) {
    // What imgstore did not make, or what is damaged, ends the chain: the oldest file of it is whole.
    const version = tryReadVersion(store.objects, at);
    const same = version?.disks.find((each) => each.name === disk.name);
    if (version === undefined || same === undefined || same.clusterSize !== disk.clusterSize) break;
    if (job.damage !== undefined && !(await canCompare(job, same))) break;
    found.push({ path: join(dirname(resolve(path)), baseName(at, same)), commit: at, disk: same });
    at = version.commit.parents[0];
  }
  return found.reverse();
}

/**
 * Writes the base files that are not there yet.
 * @throws ImgstoreError `EXISTS` when a file of that name holds something else
 */
export async function writeBaseFiles(job: CheckoutJob, bases: readonly BaseFile[]): Promise<void> {
  for (const [i, base] of bases.entries()) {
    const clusters = await countClusters(job.store, base.disk, job.damage !== undefined);
    const baseJob = { ...job, ...base, clusters, force: false, readOnly: true };
    if (existsSync(base.path)) {
      // It may stand on one that was lost and is made again.
      await job.outputs.publish();
      await refuseOther(baseJob);
    } else {
      await writeBase({ ...baseJob, onTaken: () => refuseOther(baseJob) }, bases[i - 1]);
    }
  }
}

async function writeBase(job: CheckoutJob, below: BaseFile | undefined): Promise<void> {
  if (below === undefined) {
    await writeFlat(job, 'qcow2');
  } else {
    const backing = { file: basename(below.path), format: 'qcow2' } as const;
    await writeOverlay(job, changesAgainstVersion(job, below.disk), backing);
  }
}

function baseName(commit: ObjectId, disk: VersionDisk): string {
  return `base-${commit.slice(0, 12)}-${disk.name}.qcow2`;
}

/** A file that is in a base's place must hold just its bytes: known by the stat cache, else compared. */
async function refuseOther(job: CheckoutJob): Promise<void> {
  const file = await openDisk(job.path, { allowBacking: job.allowBacking });
  try {
    const known = file.files === undefined ? undefined : await job.store.statCache.get(file.files);
    if (known?.commit === job.commit && known.disk === job.disk.name) return;
    const monitor = { signal: job.monitor.signal };
    const differences = diffAgainstSource(job.store.objects, job.disk, file.source, job.workers, monitor);
    const { done } = await differences[Symbol.asyncIterator]().next();
    await differences.return(undefined);
    if (done && file.source.size === Math.ceil(job.disk.virtualSize / 512) * 512) return;
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
