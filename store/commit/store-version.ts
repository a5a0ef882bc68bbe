import { ImgstoreError } from '../../errors/index.ts';
import { NULL_ID, type ObjectId, subject } from '../../objects/index.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';
import { currentPerson } from '../person.ts';
import type { Monitor } from '../progress.ts';
import { moveHead } from '../refs/edit.ts';
import { shortRefName } from '../refs/name.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { isEntryName } from '../version/image-json.ts';
import { tryReadVersion } from '../version/version.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { type Attachment, storeAttachments } from './attachments.ts';
import type { KnownDisk } from './known-disk.ts';
import type { OpenDisk } from './open-disk.ts';
import { type Content, findSameContent, hasContent } from './same-content.ts';
import { type StoredDisk, storeDisk } from './store-disk.ts';
import { type MadeCommit, writeVersion } from './write-version.ts';

/** A disk that is to be stored, open. */
export interface NamedDisk {
  readonly name: string;
  readonly disk: OpenDisk;
  readonly known: KnownDisk;
}

/** What becomes of disks. */
export interface VersionRequest {
  /** Full name of the branch. */
  readonly ref: string;
  /** Where it was when the disks were opened; undefined for a new one. */
  readonly tip: ObjectId | undefined;
  /** The version that a new branch starts from. */
  readonly parent?: string | undefined;
  readonly attachments?: readonly Attachment[] | undefined;
  readonly message: string;
  /** Makes a version although nothing has changed. */
  readonly allowEmpty?: boolean | undefined;
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
 * Stores a version of disks that are open, and moves the branch to it.
 *
 * Everything is written and fsynced under temporary names, then renamed, and the branch moves last: a failure at any time leaves the store as it was.
 * @throws ImgstoreError `IN_USE`, `REF_MOVED`, `IO`
 */
export async function storeVersion(
  store: Store,
  request: VersionRequest,
  named: readonly NamedDisk[],
  transaction: ObjectTransaction,
  monitor: Monitor,
): Promise<Omit<CommitResult, 'seconds'>> {
  const { ref, tip } = request;
  const workers = new ClusterWorkers(named.reduce((sum, { known }) => sum + known.expectedBytes, 0));
  try {
    const parent = tip ?? (await forkPoint(store, request.parent, named));
    if (named.some(({ known }) => known.held === undefined)) {
      workers.start();
      await store.statCache.load();
    }
    const storing = { store, transaction, workers, monitor };
    const disks: StoredDisk[] = [];
    for (const { name, disk, known } of named) disks.push(await storeDisk(name, disk.source, known, storing));
    const files = await storeAttachments(transaction, request.attachments ?? []);
    for (const { disk } of named) await disk.refuseChanged();

    const content = { clusterSize: store.clusterSize, disks, files };
    const mayBeCopy = tip === undefined && request.parent === undefined;
    const existing = request.allowEmpty ? undefined : await findExisting(store, parent, mayBeCopy, content);
    const facts = named.map(({ disk }) => disk.facts);
    const version = { content, facts, parent, message: request.message };
    const made = existing ?? (await writeVersion(store.config, version, transaction));
    monitor.newObjects?.end();
    // Also when nothing is new to the branch: what the store has lost comes back this way.
    if (transaction.newObjects > 0) await transaction.publish();
    if (made.commit !== tip) await moveBranch(store, ref, tip, made);
    await moveHead(store, ref, monitor);
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
    };
  } finally {
    await workers.close();
  }
}

/** @throws ImgstoreError `USAGE` when the branch is there and a version is named that it should start from */
export async function refuseParent(
  store: Store,
  { ref, tip, parent }: Pick<VersionRequest, 'ref' | 'tip' | 'parent'>,
): Promise<void> {
  if (tip === undefined || parent === undefined || (await resolveCommit(store, parent)) === tip) return;
  const branch = shortRefName(ref);
  throw new ImgstoreError(
    'USAGE',
    `branch '${branch}' exists: --parent is for the first version of a new branch`,
    { branch },
  );
}

/** @throws ImgstoreError `USAGE` for a name that comes twice, `BAD_NAME` */
export function refuseBadNames(
  disks: readonly { readonly name: string }[],
  attachments: readonly Attachment[] = [],
): void {
  const names = [disks, attachments].flatMap((entries) => {
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
  parent: string | undefined,
  named: readonly NamedDisk[],
): Promise<ObjectId | undefined> {
  return parent === undefined ? named[0]?.known.baseVersion : resolveCommit(store, parent);
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
