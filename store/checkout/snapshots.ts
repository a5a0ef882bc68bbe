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

/** Refcounts have 16 bits, and QEMU adds the uses of a snapshot that it applies to those that a cluster has: one for each snapshot and one for the active disk. */
const MOST_SNAPSHOTS = 2 ** 15 - 2;
/** QEMU has 32 bits for the seconds of a snapshot's date. */
const LAST_SECOND = 2 ** 32 - 1;

/**
 * Writes the same disk of several versions as internal snapshots of one qcow2, whose present state is one of them. Clusters that are equal in several of them are stored once.
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
  if (revisions.length > MOST_SNAPSHOTS)
    throw new ImgstoreError(
      'USAGE',
      `--snapshots: ${revisions.length} versions: a file has ${MOST_SNAPSHOTS} at most: write several files`,
    );
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
  /** The active disk will have it too. */
  isReserved: boolean;
}

/** The clusters of a file that hold the same bytes, each used at most once by a disk. */
interface EqualPlaces {
  readonly places: Place[];
  /** The disk that is being entered, and the first of them that it has not come to. */
  enteredFor: object | undefined;
  next: number;
}

/**
 * Where clusters are that a file has already. What a disk has twice is in the file twice: a disk that has more data than its file has bytes is refused by whoever fears a hostile image, as imgstore does. Memory
 * is some 200 bytes for each.
 */
class SharedClusters {
  readonly #writer: Qcow2Writer;
  readonly #equal = new Map<ObjectId, EqualPlaces>();

  constructor(writer: Qcow2Writer) {
    this.#writer = writer;
  }

  /**
   * Enters the clusters of a snapshot, and yields those that must be written.
   * @param isPresent the active disk will have them too
   */
  async *place(job: CheckoutJob, isPresent: boolean): AsyncGenerator<PlacedCluster> {
    for await (const { cluster, id } of jobClusters(job)) {
      const place = this.#nextOf(id, job, () => true);
      if (place !== undefined) {
        place.isReserved ||= isPresent;
        await this.#writer.share(cluster, place.offset);
        continue;
      }
      const offset = await this.#writer.allocate(cluster);
      const equal = this.#equal.get(id)!;
      equal.places.push({ offset, isReserved: isPresent });
      equal.next = equal.places.length;
      yield { cluster, id, length: clusterLength(job.disk, cluster), to: offset };
    }
  }

  /** Enters the clusters of the active disk, all of which the snapshot of the same version has. */
  async reuse(job: CheckoutJob): Promise<void> {
    const active = {};
    for await (const { cluster, id } of jobClusters(job))
      await this.#writer.share(cluster, this.#nextOf(id, active, ({ isReserved }) => isReserved)!.offset);
  }

  /** The next cluster of these bytes that a disk has not used yet and may use. */
  #nextOf(id: ObjectId, disk: object, mayUse: (place: Place) => boolean): Place | undefined {
    const equal = this.#equal.get(id) ?? { places: [], enteredFor: disk, next: 0 };
    this.#equal.set(id, equal);
    if (equal.enteredFor !== disk) [equal.enteredFor, equal.next] = [disk, 0];
    while (equal.next < equal.places.length) {
      const place = equal.places[equal.next++]!;
      if (mayUse(place)) return place;
    }
    return undefined;
  }
}
