import { ImgstoreError } from '../../errors/index.ts';
import type { PendingFile } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { Qcow2Writer } from '../../qcow2/index.ts';
import type { Monitor } from '../progress.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { clusterLength } from '../version/disk-source.ts';
import { inDisk } from '../version/map-errors.ts';
import { findDisk, readVersion, type Version, type VersionDisk } from '../version/version.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { type CheckoutResult, defaultOutput, formatFromName } from './checkout.ts';
import { type CheckoutJob, countClusters, jobClusters } from './job.ts';
import { refuseTaken } from './output-file.ts';
import { Outputs } from './outputs.ts';
import { refuseInStore } from './refuse-output.ts';
import { rememberOutput } from './remember.ts';
import { type PlacedCluster, restoreClusters } from './restore.ts';
import { originExtension, refuseTooLarge } from './write-qcow2.ts';

export interface SnapshotsRequest {
  /** The versions, in the order of the list of snapshots; each snapshot is named as its version is here. */
  readonly revisions: readonly string[];
  /** Which of them the disk is; the last when not given. */
  readonly active?: string | undefined;
  /** The file to make; named after the active revision when not given. */
  readonly output?: string | undefined;
  /** Of versions with several disks. */
  readonly disk?: string | undefined;
  /** Replaces a file that is in the way. */
  readonly force?: boolean | undefined;
}

/** `writtenBytes`: what several versions have is written once. */
export interface SnapshotsResult extends CheckoutResult {
  readonly snapshots: readonly { readonly id: string; readonly name: string; readonly commit: ObjectId }[];
}

/** A version that becomes a snapshot. */
interface SnapshotState {
  readonly name: string;
  readonly version: Version;
  readonly disk: VersionDisk;
}

/**
 * Refcounts have 16 bits, and QEMU adds the uses of a snapshot that it applies to those that a cluster has: what is used more often is stored again.
 */
const MOST_USES = 2 ** 15 - 1;
/** QEMU has 32 bits for the seconds of a snapshot's date. */
const LAST_SECOND = 2 ** 32 - 1;

/**
 * Writes the same disk of several versions as internal snapshots of one qcow2, whose present state is one of them. Clusters that are equal, in one version or several, are stored once.
 * @throws ImgstoreError `USAGE` for a version that comes twice, or an active one that does not come; `UNSUPPORTED` for clusters of different sizes; `NOT_FOUND`, `EXISTS`,
 * `DAMAGED`, `IO`
 */
export async function checkoutSnapshots(
  store: Store,
  request: SnapshotsRequest,
  monitor: Monitor = {},
): Promise<SnapshotsResult> {
  const started = performance.now();
  const { force = false } = request;
  const states = await readStates(store, request);
  const active = await findActive(store, states, request.active);
  const path = request.output ?? (await defaultOutput(store, active.name, undefined, 'qcow2'));
  if (formatFromName(path) === 'raw')
    throw new ImgstoreError('USAGE', `${path}: a raw file has no snapshots: name a qcow2`, { path });
  await refuseInStore(path, store.folder);
  await refuseTaken(path, force);
  const jobs: CheckoutJob[] = [];
  const outputs = new Outputs();
  const reading = store.announceReading(states.map(({ version }) => version.id));
  const workers = new ClusterWorkers(states.reduce((sum, state) => sum + state.disk.virtualSize, 0));
  try {
    const file = { path, force, readOnly: false, compress: undefined, allowBacking: [], outputs };
    for (const state of states) {
      const clusters = await countClusters(store, state.disk, false);
      const what = { store, commit: state.version.id, disk: state.disk, clusters };
      jobs.push({ ...what, ...file, workers, monitor, damage: undefined });
    }
    const present = jobs[states.indexOf(active)]!;
    for (const job of jobs) refuseTooLarge(job);
    const writtenBytes = await outputs.write(
      { path, force, readOnly: false, onPublished: (mtimeNs) => rememberOutput(present, 'qcow2', mtimeNs) },
      (pending) => writeSnapshots(pending, states, jobs, present),
    );
    await outputs.publish();
    const snapshots = states.map(({ name, version }, i) => ({ id: idOf(i), name, commit: version.id }));
    const seconds = (performance.now() - started) / 1000;
    const { virtualSize } = active.disk;
    return { file: path, format: 'qcow2', virtualSize, writtenBytes, backing: null, seconds, snapshots };
  } finally {
    await outputs.discard();
    await workers.close();
    reading?.withdraw();
  }
}

async function readStates(
  store: Store,
  { revisions, disk: name }: SnapshotsRequest,
): Promise<SnapshotState[]> {
  const twice = revisions.find((revision, i) => revisions.indexOf(revision) !== i);
  if (twice !== undefined)
    throw new ImgstoreError('USAGE', `--snapshots: '${twice}' is named twice`, { revision: twice });
  const states: SnapshotState[] = [];
  for (const revision of revisions) {
    const version = readVersion(store.objects, await resolveCommit(store, revision));
    states.push({ name: revision, version, disk: findDisk(version, name) });
  }
  const sizes = [...new Set(states.map(({ disk }) => disk.clusterSize))];
  if (sizes.length > 1)
    throw new ImgstoreError(
      'UNSUPPORTED',
      `the versions have clusters of ${sizes.join(' and ')} bytes, and a file has one size: check them out into several`,
    );
  return states;
}

async function findActive(
  store: Store,
  states: readonly SnapshotState[],
  revision: string | undefined,
): Promise<SnapshotState> {
  if (revision === undefined) return states.at(-1)!;
  const commit = await resolveCommit(store, revision);
  const found = states.find(({ version }) => version.id === commit);
  if (found !== undefined) return found;
  throw new ImgstoreError('USAGE', `--active ${revision}: is none of the versions that are named`, {
    revision,
  });
}

/** QEMU counts snapshots from 1. */
function idOf(index: number): string {
  return String(index + 1);
}

function dateOf({ commit }: Version): Date {
  return new Date(1000 * Math.min(Math.max(0, commit.committer.seconds), LAST_SECOND));
}

/** Writes all states, and the present one once more as the disk. Returns the bytes of data written. */
async function writeSnapshots(
  file: PendingFile,
  states: readonly SnapshotState[],
  jobs: readonly CheckoutJob[],
  present: CheckoutJob,
): Promise<number> {
  const { virtualSize, clusterSize } = present.disk;
  const lateExtension = await originExtension(present, undefined, { cluster: undefined });
  const writer = new Qcow2Writer(file, { virtualSize, clusterSize, lateExtension });
  const shared = new SharedClusters(writer);
  let written = 0;
  for (const [i, { name, version, disk }] of states.entries()) {
    const snapshot = { id: idOf(i), name, date: dateOf(version), virtualSize: disk.virtualSize };
    await writer.beginSnapshot(snapshot);
    const job = jobs[i]!;
    try {
      written += await restoreClusters(job, file, shared.place(job, job === present));
    } catch (error) {
      throw inDisk(disk, error);
    }
  }
  await writer.beginActive();
  await shared.reuse(present);
  await writer.finish();
  return written;
}

/** A cluster that a file has. */
interface Place {
  /** Host bytes. */
  readonly offset: number;
  uses: number;
  /** Uses that are left for the active disk, and are counted. */
  reserved: number;
  /** The same bytes once more, used as often as can be. */
  readonly before: Place | undefined;
}

/** Where clusters are that a file has already. Memory is some 200 bytes for each. */
class SharedClusters {
  readonly #writer: Qcow2Writer;
  readonly #places = new Map<ObjectId, Place>();

  constructor(writer: Qcow2Writer) {
    this.#writer = writer;
  }

  /**
   * Enters the clusters of a snapshot, and yields those that must be written.
   * @param isPresent the active disk will have them too
   */
  async *place(job: CheckoutJob, isPresent: boolean): AsyncGenerator<PlacedCluster> {
    const reserved = isPresent ? 1 : 0;
    for await (const { cluster, id } of jobClusters(job)) {
      const place = this.#places.get(id);
      if (place !== undefined && place.uses + 1 + reserved <= MOST_USES) {
        place.uses += 1 + reserved;
        place.reserved += reserved;
        await this.#writer.share(cluster, place.offset);
        continue;
      }
      const offset = await this.#writer.allocate(cluster);
      this.#places.set(id, { offset, uses: 1 + reserved, reserved, before: place });
      yield { cluster, id, length: clusterLength(job.disk, cluster), to: offset };
    }
  }

  /** Enters the clusters of the active disk, all of which the snapshot of the same version has. */
  async reuse(job: CheckoutJob): Promise<void> {
    for await (const { cluster, id } of jobClusters(job)) {
      let place = this.#places.get(id);
      while (place?.reserved === 0) place = place.before;
      place!.reserved--;
      await this.#writer.share(cluster, place!.offset);
    }
  }
}
