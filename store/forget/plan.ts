import { ImgstoreError } from '../../errors/index.ts';
import { type Commit, isoDate, type ObjectId, parseCommit, subject } from '../../objects/index.ts';
import { findTips } from '../history/tips.ts';
import { walkCommits } from '../history/walk.ts';
import { BRANCHES, REMOTES, shortRefName, TAGS } from '../refs/name.ts';
import type { Ref } from '../refs/refs.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { readSuccession } from './headers.ts';
import { type KeepPolicy, keptByTime, matchesTag } from './policy.ts';

export interface ForgetRequest {
  /** The versions to forget; or, with a policy, the branches to thin: all when there are none. */
  readonly revisions: readonly string[];
  readonly policy?: KeepPolicy | undefined;
  /** Says what would be done, and does nothing. */
  readonly dryRun?: boolean | undefined;
  /** Also versions that branches of remotes, as they were fetched or pushed last, have in their histories. */
  readonly pushed?: boolean | undefined;
}

/** A version that is about to be forgotten. */
export interface ForgottenVersion {
  readonly commit: ObjectId;
  readonly date: string;
  readonly message: string;
}

export interface ForgetPlan {
  /** Branches and tags whose histories may change, with the commits that they lead to now. */
  readonly branches: readonly Ref[];
  readonly tags: readonly Ref[];
  /** Every commit that those lead to, parents first. */
  readonly commits: ReadonlyMap<ObjectId, Commit>;
  /** Newest first. */
  readonly forgotten: ReadonlySet<ObjectId>;
  /** Versions that stay in those branches. */
  readonly kept: number;
  /** Branches of remotes (`origin/web`) that have versions of those branches in their histories, but for the last of each. */
  readonly remotes: readonly string[];
}

/**
 * Decides which versions are forgotten. Never the last of a branch, nor what a branch that is not asked for, a remote's branch or any other ref has in its history.
 * @throws ImgstoreError `NOT_FOUND`, `USAGE` for a version that cannot be forgotten, `DAMAGED`
 */
export async function planForget(store: Store, request: ForgetRequest): Promise<ForgetPlan> {
  const { tips, damaged } = await findTips(store, 'refs/');
  if (damaged[0] !== undefined)
    throw new ImgstoreError('DAMAGED', damaged[0].message, { ref: damaged[0].name });
  const head = await store.refs.follow('HEAD');
  const targets = await symbolicRefs(store, tips);
  const own = tips.filter(({ name }) => !targets.has(name));
  const all = {
    branches: own.filter(({ name }) => name.startsWith(BRANCHES)),
    tags: own.filter(({ name }) => name.startsWith(TAGS)),
    remotes: tips.filter(({ name }) => name.startsWith(REMOTES)),
    others: tips.filter(({ name }) => ![BRANCHES, TAGS, REMOTES].some((kind) => name.startsWith(kind))),
  };
  const detached = head.symbolic.length === 0 && head.id !== undefined ? [head.id] : [];
  const walk = (starts: readonly ObjectId[]) => [...walkCommits(store.objects, starts)];
  const idsOf = (starts: readonly ObjectId[]) => new Set(walk(starts).map(({ id }) => id));

  const asked =
    request.policy === undefined ? all.branches : chooseBranches(all.branches, request.revisions, targets);
  const fixed = idsOf([
    ...all.branches.filter((branch) => !asked.includes(branch)).map(({ id }) => id),
    ...all.others.map(({ id }) => id),
    ...detached,
  ]);
  const kept = new Map<ObjectId, string>();
  const keep = (ids: Iterable<ObjectId>, why: string) => {
    for (const id of ids) if (!kept.has(id)) kept.set(id, why);
  };
  // Under its ids of before, too: when this was stopped half-way, some refs have moved and others have not.
  const withOldIds = (id: ObjectId) => [
    id,
    ...readSuccession(parseCommit(store.objects.readAs('commit', id))).was,
  ];
  for (const { name, id } of all.branches)
    keep(withOldIds(id), `it is the last version of branch '${shortRefName(name)}'`);
  keep(fixed, 'another ref has it in its history');
  if (!request.pushed)
    for (const { name, id } of all.remotes)
      keep(
        idsOf([id]),
        `'${shortRefName(name)}' has it in its history, which --pushed leaves out of account`,
      );
  for (const { name, id } of all.tags)
    if (protects(shortRefName(name), request.policy?.tags))
      keep(withOldIds(id), `it has the tag '${shortRefName(name)}'`);

  const forgotten =
    request.policy === undefined
      ? await namedVersions(
          store,
          request.revisions,
          kept,
          idsOf([...asked, ...all.tags].map(({ id }) => id)),
        )
      : thinned(asked, request.policy, (id) => withOldIds(id).some((each) => kept.has(each)), walk);
  const starts = [...asked, ...all.tags];
  const commits = walk(starts.map(({ id }) => id)).reverse();
  return {
    branches: asked,
    tags: all.tags,
    kept: idsOf(asked.map(({ id }) => id)).size - forgotten.size,
    remotes: holders(
      all.remotes,
      idsOf(asked.map(({ id }) => id)),
      new Set(asked.map(({ id }) => id)),
      idsOf,
    ),
    commits: new Map(commits.map(({ id, commit }) => [id, commit])),
    forgotten,
  };
}

/** The refs that lead to one of some versions, but for those that are tips. */
function holders(
  refs: readonly Ref[],
  versions: ReadonlySet<ObjectId>,
  tips: ReadonlySet<ObjectId>,
  idsOf: (starts: readonly ObjectId[]) => ReadonlySet<ObjectId>,
): readonly string[] {
  const holds = ({ id }: Ref) => [...idsOf([id])].some((each) => versions.has(each) && !tips.has(each));
  return refs.filter(holds).map(({ name }) => shortRefName(name));
}

/** What a list shows of a version. */
export function describeForgotten(store: Store, id: ObjectId): ForgottenVersion {
  const { committer, message } = parseCommit(store.objects.readAs('commit', id));
  return { commit: id, date: isoDate(committer), message: subject(message) };
}

/** Without patterns every tag keeps its version. */
function protects(tag: string, patterns: readonly string[] | undefined): boolean {
  return patterns === undefined || patterns.some((pattern) => matchesTag(pattern, tag));
}

/** Refs that are other names of refs, with those: they move with them. */
async function symbolicRefs(store: Store, refs: readonly Ref[]): Promise<ReadonlyMap<string, string>> {
  const targets = new Map<string, string>();
  for (const { name } of refs) {
    const end = await store.refs.follow(name);
    if (end.symbolic.length > 0) targets.set(name, end.name);
  }
  return targets;
}

function chooseBranches(
  branches: readonly Ref[],
  names: readonly string[],
  targets: ReadonlyMap<string, string>,
): readonly Ref[] {
  if (names.length === 0) return branches;
  const chosen = names.map((name) => {
    const meant = [BRANCHES + name, name].map((full) => targets.get(full) ?? full);
    const branch = branches.find((each) => meant.includes(each.name));
    if (branch !== undefined) return branch;
    throw new ImgstoreError('NOT_FOUND', `no branch '${name}' to thin: see 'imgstore branch'`, { name });
  });
  return [...new Set(chosen)];
}

async function namedVersions(
  store: Store,
  revisions: readonly string[],
  kept: ReadonlyMap<ObjectId, string>,
  history: ReadonlySet<ObjectId>,
): Promise<ReadonlySet<ObjectId>> {
  const forgotten = new Set<ObjectId>();
  for (const revision of revisions) {
    const id = await resolveCommit(store, revision);
    const why = kept.get(id);
    if (why !== undefined)
      throw new ImgstoreError('USAGE', `'${revision}' cannot be forgotten: ${why}: remove that first`, {
        revision,
        commit: id,
      });
    if (!history.has(id))
      throw new ImgstoreError(
        'USAGE',
        `'${revision}' is in the history of no branch or tag: gc removes it when no log of a ref names it any more`,
        { revision, commit: id },
      );
    forgotten.add(id);
  }
  return forgotten;
}

function thinned(
  branches: readonly Ref[],
  policy: KeepPolicy,
  isKept: (id: ObjectId) => boolean,
  walk: (starts: readonly ObjectId[]) => { readonly id: ObjectId; readonly commit: Commit }[],
): ReadonlySet<ObjectId> {
  const candidates = new Set<ObjectId>();
  const keptByAny = new Set<ObjectId>();
  for (const { id: tip } of branches) {
    const versions = walk([tip]).map(({ id, commit }) => ({ id, committer: commit.committer }));
    for (const { id } of versions) candidates.add(id);
    for (const id of keptByTime(versions, policy)) keptByAny.add(id);
  }
  return new Set([...candidates].filter((id) => !keptByAny.has(id) && !isKept(id)));
}
