import { ImgstoreError } from '../../errors/index.ts';
import { NULL_ID, type ObjectId, subject } from '../../objects/index.ts';
import { branchTip } from '../history/tips.ts';
import { openDiskOnStore } from '../origin/stored-base.ts';
import { currentPerson } from '../person.ts';
import type { Monitor } from '../progress.ts';
import { moveHead } from '../refs/edit.ts';
import { BRANCHES, fullRefName, shortRefName } from '../refs/name.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { TrackedImages } from '../track/images.ts';
import { isEntryName } from '../version/image-json.ts';
import { tryReadVersion } from '../version/version.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { type Attachment, storeAttachments } from './attachments.ts';
import { type KnownDisk, knownDisk } from './known-disk.ts';
import { defaultBranch, sourceTitle } from './names.ts';
import type { OpenDisk, OpenDiskOptions } from './open-disk.ts';
import { type Content, findSameContent, hasContent } from './same-content.ts';
import { type StoredDisk, storeDisk } from './store-disk.ts';
import { type MadeCommit, writeVersion } from './write-version.ts';

/** A disk image to store, and as which disk. */
export interface DiskToStore {
  readonly name: string;
  readonly path: string;
}

export interface CommitRequest extends OpenDiskOptions {
  /** At least one. */
  readonly disks: readonly DiskToStore[];
  readonly attachments?: readonly Attachment[] | undefined;
  /** The first file's name without its ending when not given. */
  readonly branch?: string | undefined;
  readonly message?: string | undefined;
  /** The version that a new branch starts from. */
  readonly parent?: string | undefined;
  /** The version that an overlay's backing file held, where the file is gone and the overlay's header does not say it surely. */
  readonly storedBase?: string | undefined;
  /** Makes a version although nothing has changed. */
  readonly allowEmpty?: boolean | undefined;
  /** Begins a bitmap in each image, so that the next commit reads only what was written since; images that have one keep it up in any case. */
  readonly track?: boolean | undefined;
}

export interface CommitResult {
  readonly commit: ObjectId;
  readonly tree: ObjectId;
  /** Short name. */
  readonly branch: string;
  readonly parents: readonly ObjectId[];
  /** True when this was the branch's first version. */
  readonly newBranch: boolean;
  readonly disks: readonly StoredDisk[];
  /** Those that the store did not have; of an unchanged version those that it had lost. */
  readonly newObjects: number;
  /** Bytes that the new objects take on disk. */
  readonly storedBytes: number;
  /** True when the disks are as in the branch's last version, which is then the result. */
  readonly unchanged: boolean;
  readonly seconds: number;
}

/**
 * Stores a version of one or more disks and moves the branch to it.
 *
 * Everything is written and fsynced under temporary names, then renamed, and the branch moves last: a failure at any time leaves the store as it was.
 * @throws ImgstoreError `IN_USE`, `REF_MOVED`, `BAD_NAME`, `IO` and what opening an image throws
 */
export async function commitVersion(
  store: Store,
  request: CommitRequest,
  monitor: Monitor = {},
): Promise<CommitResult> {
  const started = performance.now();
  const ref = fullRefName(BRANCHES, request.branch ?? defaultBranch(request.disks[0]!.path));
  refuseBadNames(request);
  const tip = await branchTip(store, ref);
  if (
    tip !== undefined &&
    request.parent !== undefined &&
    (await resolveCommit(store, request.parent)) !== tip
  ) {
    throw new ImgstoreError(
      'USAGE',
      `branch '${shortRefName(ref)}' exists: --parent is for the first version of a new branch`,
      {
        branch: shortRefName(ref),
      },
    );
  }
  const open: OpenDisk[] = [];
  const tracked = new TrackedImages(store, request, monitor);
  const transaction = store.begin();
  let workers: ClusterWorkers | undefined;
  try {
    for (const { name, path } of request.disks) {
      const isLockedHere = await tracked.lock(path);
      open.push(await openDiskOnStore(store, path, { ...request, disk: name, isLockedHere }));
    }
    for (const notice of open.flatMap((disk) => disk.notices)) monitor.onNotice?.(notice);
    const known: KnownDisk[] = [];
    for (const disk of open) known.push(await knownDisk(store, disk, { tip, onNotice: monitor.onNotice }));
    const parent = tip ?? (await forkPoint(store, request, known));
    workers = new ClusterWorkers(known.reduce((sum, disk) => sum + disk.expectedBytes, 0));
    if (known.some(({ held }) => held === undefined)) {
      workers.start();
      await store.statCache.load();
    }
    const storing = { store, transaction, workers, monitor };
    const disks: StoredDisk[] = [];
    for (const [i, { name }] of request.disks.entries())
      disks.push(await storeDisk(name, open[i]!.source, known[i]!, storing));
    const files = await storeAttachments(transaction, request.attachments ?? []);
    for (const disk of open) await disk.refuseChanged();

    const content = { clusterSize: store.clusterSize, disks, files };
    const mayBeCopy = tip === undefined && request.parent === undefined;
    const existing = request.allowEmpty ? undefined : await findExisting(store, parent, mayBeCopy, content);
    const facts = open.map((disk) => disk.facts);
    const message = request.message ?? defaultMessage(request);
    const version = { content, facts, parent, message };
    const made = existing ?? (await writeVersion(store.config, version, transaction));
    // Also when nothing is new to the branch: what the store has lost comes back this way.
    if (transaction.newObjects > 0) await transaction.publish();
    if (made.commit !== tip) await moveBranch(store, ref, tip, made);
    await moveHead(store, ref, monitor);
    for (const [i, disk] of disks.entries()) {
      await remember(store, open[i]!, made.commit, disk);
      await tracked.start(open[i]!, made.commit, disk);
    }
    return {
      commit: made.commit,
      tree: made.tree,
      parents: made.parents,
      branch: shortRefName(ref),
      disks,
      newObjects: transaction.newObjects,
      storedBytes: transaction.storedBytes,
      newBranch: tip === undefined,
      unchanged: existing !== undefined,
      seconds: (performance.now() - started) / 1000,
    };
  } finally {
    await transaction.discard();
    await workers?.close();
    for (const disk of open) await disk.source.close();
    await tracked.close();
  }
}

function refuseBadNames(request: CommitRequest): void {
  const names = [request.disks, request.attachments ?? []].flatMap((entries) => {
    const twice = entries.find(({ name }, i) => entries.findIndex((other) => other.name === name) !== i);
    if (twice !== undefined)
      throw new ImgstoreError('USAGE', `the name '${twice.name}' is given twice`, { name: twice.name });
    return entries.map(({ name }) => name);
  });
  const wrong = names.find((name) => !isEntryName(name));
  if (wrong !== undefined) {
    throw new ImgstoreError(
      'BAD_NAME',
      `'${wrong}' cannot name a disk or attachment: use letters, digits, '.', '_' and '-'`,
      {
        name: wrong,
      },
    );
  }
}

/** Where a new branch starts: at `--parent`, else at the version that the nearest disk below an overlay is known to be. */
async function forkPoint(
  store: Store,
  request: CommitRequest,
  known: readonly KnownDisk[],
): Promise<ObjectId | undefined> {
  return request.parent === undefined ? known[0]?.baseVersion : resolveCommit(store, request.parent);
}

/**
 * The version that holds this content already: the one that a new version would follow, or any, if the branch may be a copy: its first
 * version is then the one that it was copied from. Disks of zeros are copies of nothing.
 * @param mayBeCopy the branch is new, and nobody says what it starts from
 */
async function findExisting(
  store: Store,
  parent: ObjectId | undefined,
  mayBeCopy: boolean,
  content: Content,
): Promise<MadeCommit | undefined> {
  const last = parent === undefined ? undefined : tryReadVersion(store.objects, parent);
  const same =
    last !== undefined && hasContent(last, content)
      ? last
      : mayBeCopy && content.disks.some((disk) => disk.clusters > 0)
        ? await findSameContent(store, content)
        : undefined;
  if (same === undefined) return undefined;
  const { tree, parents, message } = same.commit;
  return { commit: same.id, tree, parents, subject: subject(message) };
}

function defaultMessage({ disks }: CommitRequest): string {
  return `Store ${disks.map(({ path }) => sourceTitle(path)).join(', ')}`;
}

async function moveBranch(
  store: Store,
  ref: string,
  tip: ObjectId | undefined,
  made: MadeCommit,
): Promise<void> {
  const person = currentPerson('committer', store.config);
  const message = `commit${made.parents.length === 0 ? ' (initial)' : ''}: ${made.subject}`;
  await store.refs.update({ name: ref, before: tip ?? NULL_ID, after: made.commit, person, message });
}

async function remember(
  store: Store,
  disk: OpenDisk,
  commit: ObjectId,
  { name, clusters }: StoredDisk,
): Promise<void> {
  if (disk.files !== undefined)
    await store.statCache.put(disk.files, disk.lookedNs, { commit, disk: name, clusters });
}
