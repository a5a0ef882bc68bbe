import type { Commit, ObjectId } from '../../objects/index.ts';
import { BRANCHES, isVersionRef, shortRefName } from '../refs/name.ts';
import type { Ref } from '../refs/refs.ts';
import { parseRevision } from '../revision/parse.ts';
import { findRef, resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { tryReadVersion, type VersionDisk } from '../version/version.ts';
import { walkCommits } from './walk.ts';

/** A version as a list shows it. */
export interface LoggedVersion {
  readonly id: ObjectId;
  readonly commit: Commit;
  /** The branch that was asked for, else the first that leads here; undefined when none does. */
  readonly branch: string | undefined;
  /** Short names of the refs that are just here. */
  readonly refs: readonly string[];
  /** Empty for a commit that is not a version of imgstore. */
  readonly disks: readonly VersionDisk[];
}

/** Where a log starts. */
export interface LogStart {
  /** All branches when not given. */
  readonly revision?: string | undefined;
  /** Tags and remotes' branches too. */
  readonly all?: boolean | undefined;
}

/** The versions that some starts lead to, newest first. @throws ImgstoreError `NOT_FOUND` for an unknown revision. */
export async function* logVersions(store: Store, { revision, all }: LogStart): AsyncGenerator<LoggedVersion> {
  const refs = peelRefs(
    store,
    (await store.refs.list()).filter((ref) => isVersionRef(ref.name)),
  );
  const branches = refs.filter(({ name }) => name.startsWith(BRANCHES));
  const starts =
    revision === undefined
      ? (all ? refs : branches).map(({ id }) => id)
      : [await resolveCommit(store, revision)];
  const asked = revision === undefined ? undefined : await branchIn(store, revision);
  const owner = asked === undefined ? firstBranches(store, branches) : () => asked;
  const here = refsByCommit(refs);
  for (const { id, commit } of walkCommits(store.objects, starts)) {
    const disks = tryReadVersion(store.objects, id)?.disks ?? [];
    yield { id, commit, branch: owner(id), refs: here.get(id) ?? [], disks };
  }
}

/** The branch that a revision begins with: `web` for `web~2`. */
async function branchIn(store: Store, revision: string): Promise<string | undefined> {
  const name = (await findRef(store, parseRevision(revision).name))?.name;
  const branch = name === 'HEAD' ? await store.refs.symbolicTarget(name) : name;
  return branch?.startsWith(BRANCHES) ? shortRefName(branch) : undefined;
}

/** For each commit the first branch, by name, that leads to it. */
function firstBranches(store: Store, branches: readonly Ref[]): (id: ObjectId) => string | undefined {
  const first = new Map<ObjectId, string>();
  for (const { id, start } of walkCommits(
    store.objects,
    branches.map(({ id }) => id),
  )) {
    first.set(id, shortRefName(branches[start]!.name));
  }
  return (id) => first.get(id);
}

/** Refs with the commits that they lead to, through tags; what leads to none is left out. */
function peelRefs(store: Store, refs: readonly Ref[]): Ref[] {
  return refs
    .map(({ id, name }) => ({ name, id: store.objects.peel(id) }))
    .filter(({ id }) => store.objects.header(id).type === 'commit');
}

function refsByCommit(refs: readonly Ref[]): ReadonlyMap<ObjectId, readonly string[]> {
  const here = new Map<ObjectId, string[]>();
  for (const { id, name } of refs) here.set(id, [...(here.get(id) ?? []), shortRefName(name)]);
  return here;
}
