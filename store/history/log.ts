import type { Commit, ObjectId } from '../../objects/index.ts';
import { type DamagedRef, MISSING_REMEDY } from '../refs/damage.ts';
import { BRANCHES, shortRefName, VERSION_REFS } from '../refs/name.ts';
import type { Ref } from '../refs/refs.ts';
import { parseRevision } from '../revision/parse.ts';
import { findRef, resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { tryReadVersion, type VersionDisk } from '../version/version.ts';
import { findTips } from './tips.ts';
import { type LostCommit, lostText, walkCommits } from './walk.ts';

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
  /** What is wrong with the version or its parents, and what to do. */
  readonly damaged: string | undefined;
}

/** Where a log starts. */
export interface LogStart {
  /** All branches when not given. */
  readonly revision?: string | undefined;
  /** All branches, and tags and remotes' branches too. */
  readonly all?: boolean | undefined;
}

/**
 * The versions that some starts lead to, newest first.
 * @param onDamaged told of refs that should be a start and lead nowhere, before the first version
 * @throws ImgstoreError `NOT_FOUND` for an unknown revision, `DAMAGED` when it cannot be read
 */
export async function* logVersions(
  store: Store,
  { revision, all }: LogStart,
  onDamaged: (damaged: DamagedRef) => void = () => {},
): AsyncGenerator<LoggedVersion> {
  const { tips, damaged } = await findTips(store, ...VERSION_REFS);
  const branches = tips.filter(isBranch);
  const isStart = all ? () => true : revision === undefined ? isBranch : () => false;
  const named = revision === undefined ? [] : [await resolveCommit(store, revision)];
  const starts = [...named, ...tips.filter(isStart).map(({ id }) => id)];
  for (const ref of damaged.filter(isStart)) onDamaged(ref);
  // Of a branch alone, all versions are its own.
  const asked = revision === undefined || all ? undefined : await branchIn(store, revision);
  const owner = asked === undefined ? firstBranches(store, branches) : () => asked;
  const here = refsByCommit(tips);
  const lost: LostCommit[] = [];
  const onLost = (each: LostCommit) => {
    // Only a revision that was asked for: the tips of refs were read before.
    if (each.child === undefined) throw each.fault;
    lost.push(each);
  };
  for (const { id, commit } of walkCommits(store.objects, starts, onLost)) {
    const faults = lost.filter((each) => each.child === id).map(lostText);
    const version = tryReadVersion(store.objects, id, ({ message }) => faults.unshift(message));
    yield {
      id,
      commit,
      branch: owner(id),
      refs: here.get(id) ?? [],
      disks: version?.disks ?? [],
      damaged: faults[0] === undefined ? undefined : `${faults[0]}: ${MISSING_REMEDY}`,
    };
  }
}

function isBranch({ name }: { readonly name: string }): boolean {
  return name.startsWith(BRANCHES);
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
  const starts = branches.map(({ id }) => id);
  for (const { id, start } of walkCommits(store.objects, starts, () => {})) {
    first.set(id, shortRefName(branches[start]!.name));
  }
  return (id) => first.get(id);
}

function refsByCommit(refs: readonly Ref[]): ReadonlyMap<ObjectId, readonly string[]> {
  const here = new Map<ObjectId, string[]>();
  for (const { id, name } of refs) here.set(id, [...(here.get(id) ?? []), shortRefName(name)]);
  return here;
}
