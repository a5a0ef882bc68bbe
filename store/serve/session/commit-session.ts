import { ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import { NULL_ID, type ObjectId, subject } from '../../../objects/index.ts';
import { ingestDisk } from '../../commit/ingest.ts';
import { hasContent } from '../../commit/same-content.ts';
import type { StoredDisk } from '../../commit/store-disk.ts';
import { type MadeCommit, writeVersion } from '../../commit/write-version.ts';
import { branchTip } from '../../history/tips.ts';
import { currentPerson } from '../../person.ts';
import type { Monitor } from '../../progress.ts';
import { moveHead } from '../../refs/edit.ts';
import { BRANCHES, fullRefName, shortRefName } from '../../refs/name.ts';
import { refMoved } from '../../refs/refs.ts';
import type { Store } from '../../store.ts';
import {
  findDisk,
  readVersion,
  tryReadVersion,
  type Version,
  type VersionDisk,
} from '../../version/version.ts';
import { ClusterWorkers } from '../../workers/pool.ts';
import type { FrozenDisk } from './frozen-disk.ts';
import type { Session } from './session.ts';

export interface SessionCommitRequest {
  /** The session's own when not given; a new one starts at the version that was committed last. */
  readonly branch?: string | undefined;
  readonly message?: string | undefined;
}

/** What committing a session came to; plain data that survives JSON. */
export interface SessionCommit {
  readonly session: string;
  readonly commit: ObjectId;
  readonly tree: ObjectId;
  /** Short name. */
  readonly branch: string;
  readonly parents: readonly ObjectId[];
  /** True when this was the branch's first version. */
  readonly newBranch: boolean;
  readonly newObjects: number;
  readonly newClusters: number;
  /** Bytes read from the overlay. */
  readonly readBytes: number;
  /** Bytes that the new objects take on disk. */
  readonly storedBytes: number;
  /** True when the disk is as in the branch's last version, which is then the result. */
  readonly unchanged: boolean;
  readonly seconds: number;
}

/**
 * Stores the disk of a session as it is at one instant, while it is written to, and moves the branch there. Only what was written since the last commit is read. Whoever writes to a cluster
 * that is not read yet has its bytes kept in memory first, up to a limit, and waits then.
 *
 * The version's other disks and its attachments are those of the branch's last version.
 * @throws ImgstoreError `REF_MOVED` when the branch is at a version that the session knows nothing of, `BAD_NAME`, `IO`, `DAMAGED`; nothing of what was written is lost then
 */
export function commitSession(
  store: Store,
  session: Session,
  request: SessionCommitRequest = {},
  monitor: Monitor = {},
): Promise<SessionCommit> {
  return session.exclusively(() => new SessionCommitting(store, session, monitor).run(request));
}

class SessionCommitting {
  readonly #store: Store;
  readonly #session: Session;
  readonly #monitor: Monitor;

  constructor(store: Store, session: Session, monitor: Monitor) {
    this.#store = store;
    this.#session = session;
    this.#monitor = monitor;
  }

  async run({ branch = this.#session.branch, message }: SessionCommitRequest): Promise<SessionCommit> {
    const started = performance.now();
    const { disk } = this.#session;
    const ref = fullRefName(BRANCHES, branch);
    const tip = await branchTip(this.#store, ref);
    if (tip !== undefined) this.#refuseUnknown(ref, tip);
    const parent = readVersion(this.#store.objects, tip ?? this.#session.last);
    await disk.flush();
    const frozen = disk.freeze();
    try {
      const made = await this.#storeDisk(frozen, parent, message ?? `Store ${this.#session.name}`, {
        ref,
        tip,
      });
      this.#session.last = made.commit;
      this.#session.known = findDisk(readVersion(this.#store.objects, made.commit), this.#session.base.name);
      frozen.end(true);
      await moveHead(this.#store, ref, this.#monitor);
      const seconds = (performance.now() - started) / 1000;
      return { session: this.#session.name, branch, newBranch: tip === undefined, ...made, seconds };
    } finally {
      frozen.end(false);
    }
  }

  async #storeDisk(
    frozen: FrozenDisk,
    parent: Version,
    message: string,
    { ref, tip }: { readonly ref: string; readonly tip: ObjectId | undefined },
  ) {
    const store = this.#store;
    const transaction = store.begin();
    const workers = new ClusterWorkers(frozen.changedBytes);
    try {
      const stored = await this.#ingest(frozen, transaction, workers);
      const disks = parent.disks.map((each) => (each.name === stored.name ? stored : asStored(each)));
      const content = { clusterSize: store.clusterSize, disks, files: parent.files };
      const isSame = hasContent(parent, content);
      const facts = parent.disks.map(({ name, source }) =>
        name === stored.name ? { format: 'session' } : source,
      );
      const version = { content, facts, parent: parent.id, message };
      const made = isSame ? madeOf(parent) : await writeVersion(store.config, version, transaction);
      if (transaction.newObjects > 0) await transaction.publish();
      await this.#move(made, { ref, tip });
      const { newObjects, storedBytes } = transaction;
      const { newClusters, readBytes } = stored;
      const { commit, tree, parents } = made;
      return { commit, tree, parents, newObjects, newClusters, readBytes, storedBytes, unchanged: isSame };
    } finally {
      await transaction.discard();
      await workers.close();
    }
  }

  async #ingest(
    frozen: FrozenDisk,
    transaction: ReturnType<Store['begin']>,
    workers: ClusterWorkers,
  ): Promise<StoredDisk> {
    const store = this.#store;
    const { name, virtualSize, map } = this.#session.known;
    // How many clusters the disk has in all is asked by nobody: it would take a walk of the whole map.
    const held = { virtualSize, map, clusters: 0 };
    const { clusterSize, compression, objects: database } = store;
    const ingested = await ingestDisk(frozen, {
      clusterSize,
      compression,
      database,
      transaction,
      workers,
      monitor: this.#monitor,
      expectedBytes: frozen.changedBytes,
      basis: { held, extents: () => frozen.extentsSinceLast() },
    });
    return { name, virtualSize, ...ingested };
  }

  /** The session's own ref goes first: a branch that a kill has kept behind is known as the version before it. */
  async #move(
    { commit, parents, subject: text }: MadeCommit,
    { ref, tip }: { readonly ref: string; readonly tip: ObjectId | undefined },
  ): Promise<void> {
    const { refs, config } = this.#store;
    const person = currentPerson('committer', config);
    const { places, last } = this.#session;
    const message = `commit${parents.length === 0 ? ' (initial)' : ''}: ${text}`;
    const toSession = (after: ObjectId) =>
      refs.update({ name: places.lastRef, before: undefined, after, person, message });
    if (commit !== last) await toSession(commit);
    try {
      if (commit !== tip)
        await refs.update({ name: ref, before: tip ?? NULL_ID, after: commit, person, message });
    } catch (error) {
      if (commit !== last) await toSession(last);
      throw isImgstoreError(error, 'REF_MOVED') ? this.#adviseOther(error) : error;
    }
  }

  /** A branch can be gone on with when its version has the disk as the session had it at some time: nobody else has changed it then. */
  #refuseUnknown(ref: string, tip: ObjectId): void {
    const { objects } = this.#store;
    const { base, last } = this.#session;
    const wanted = tryReadVersion(objects, tip)?.disks.find((disk) => disk.name === base.name);
    let at: ObjectId | undefined = last;
    while (at !== undefined) {
      if (at === tip) return;
      const version = tryReadVersion(objects, at);
      const disk = version?.disks.find((each) => each.name === base.name);
      if (isSameDisk(disk, wanted)) return;
      at = at === base.version ? undefined : version?.commit.parents[0];
    }
    throw this.#adviseOther(refMoved(ref, last, tip));
  }

  #adviseOther(error: ImgstoreError): ImgstoreError {
    const { name, last } = this.#session;
    const branch = shortRefName(String(error.data.name));
    const now = String(error.data.now).slice(0, 12);
    return new ImgstoreError(
      'REF_MOVED',
      `session '${name}' stands on ${last.slice(0, 12)}, but '${branch}' was moved to ${now} meanwhile: commit to another branch with --branch`,
      error.data,
      error,
    );
  }
}

function isSameDisk(one: VersionDisk | undefined, other: VersionDisk | undefined): boolean {
  return (
    one !== undefined &&
    other !== undefined &&
    one.map.id === other.map.id &&
    one.virtualSize === other.virtualSize
  );
}

function asStored({ name, virtualSize, map }: VersionDisk): StoredDisk {
  return { name, virtualSize, map, clusters: 0, newClusters: 0, readBytes: 0 };
}

function madeOf({ id, commit: { tree, parents, message } }: Version): MadeCommit {
  return { commit: id, tree, parents, subject: subject(message) };
}
