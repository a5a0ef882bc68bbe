import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { BRANCHES, shortRefName, TAGS } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { readVersion } from '../version/version.ts';
import { type ContentKey, versionKey } from './lineage.ts';
import type { DiskState } from './states.ts';
import { tagNames } from './tag-names.ts';

/** The tag of a snapshot. */
export interface SnapshotTag {
  readonly state: DiskState;
  /** Short. */
  readonly name: string;
  /** The version that has it already. */
  readonly taken: ObjectId | undefined;
}

/**
 * Names the tags of snapshots, and refuses those that cannot be, before anything is read or written.
 * @param prefix what all begin with
 * @param disk the disk's name in versions
 * @param branch the short name of the branch that is made
 * @throws ImgstoreError `EXISTS` for a tag that cannot mean the snapshot, that another ref is in the way of, or that has the name of a branch, `BAD_NAME` for the prefix
 */
export async function planTags(
  store: Store,
  states: readonly DiskState[],
  prefix: string,
  disk: string,
  branch: string,
): Promise<SnapshotTag[]> {
  const tagged = states.flatMap((state) =>
    state.snapshot === undefined ? [] : [{ state, snapshot: state.snapshot }],
  );
  if (tagged.length === 0) return [];
  const names = tagNames(
    tagged.map(({ snapshot }) => snapshot),
    prefix,
  );
  const { refs, unreadable } = await store.refs.survey(TAGS);
  const there = new Map(refs.map(({ name, id }) => [name, id]));
  const broken = new Set(unreadable.map(({ name }) => name));
  const branches = new Set([
    branch,
    ...(await store.refs.list(BRANCHES)).map(({ name }) => shortRefName(name)),
  ]);
  const all = [...there.keys(), ...broken];
  // A ref is a file or a folder: none of these may be a tag, or lie below one.
  const folders = new Set(all.flatMap(foldersOf));
  return tagged.map(({ state }, i) => {
    const name = names[i]!;
    const full = TAGS + name;
    const inWay =
      folders.has(full) || foldersOf(full).some((folder) => there.has(folder) || broken.has(folder));
    if (broken.has(full) || inWay)
      throw tagTaken(name, inWay ? "another tag's name is in its way" : 'it cannot be read');
    const id = there.get(full);
    if (id === undefined && branches.has(name)) throw hidesBranch(name);
    const taken = id === undefined ? undefined : store.objects.peel(id);
    if (taken !== undefined && !canBe(store, taken, state, disk))
      throw tagTaken(name, 'it is of another disk');
    return { state, name, taken };
  });
}

/** Refuses a tag that is there and means another version. @throws ImgstoreError `EXISTS` */
export function refuseOther(
  store: Store,
  { name, taken }: SnapshotTag,
  commit: ObjectId,
  key: ContentKey,
): void {
  if (taken === undefined || taken === commit || versionKey(store, taken) === key) return;
  throw tagTaken(name, `it is at ${taken.slice(0, 12)}, which holds something else`);
}

/** Whether a version can be a state of a disk, by its disk's name and size alone. */
function canBe(store: Store, commit: ObjectId, { virtualSize }: DiskState, name: string): boolean {
  try {
    const disk = readVersion(store.objects, commit).disks.find((each) => each.name === name);
    return disk?.virtualSize === virtualSize && disk.clusterSize === store.clusterSize;
  } catch (error) {
    if (isImgstoreError(error)) return false;
    throw error;
  }
}

/** `refs/tags/a`, `refs/tags` of `refs/tags/a/b`; names of the folders that a ref's file lies in. */
function foldersOf(name: string): string[] {
  const parts = name.split('/');
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join('/'));
}

function tagTaken(name: string, why: string): ImgstoreError {
  return new ImgstoreError(
    'EXISTS',
    `tag '${name}' exists, and does not mean this snapshot: ${why}: give the image's tags a name of their own with --tag-prefix, or rename that one`,
    { name },
  );
}

/** A revision of that name would mean the tag from then on, as in git. */
function hidesBranch(name: string): ImgstoreError {
  return new ImgstoreError(
    'EXISTS',
    `tag '${name}' would hide the branch of that name: give the image's tags a name of their own with --tag-prefix`,
    { name },
  );
}
