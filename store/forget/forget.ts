import { join } from 'node:path';
import { encodeTag, NULL_ID, type ObjectId, parseTag } from '../../objects/index.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';
import { currentPerson } from '../person.ts';
import { shortRefName, TAGS } from '../refs/name.ts';
import { type ReflogEntry, Reflogs } from '../refs/reflog.ts';
import { refMoved } from '../refs/refs.ts';
import type { Store } from '../store.ts';
import {
  describeForgotten,
  type ForgetPlan,
  type ForgetRequest,
  type ForgottenVersion,
  planForget,
} from './plan.ts';
import { rewriteCommits } from './rewrite.ts';

/** A branch or tag that forgetting has changed, or would. */
export interface MovedRef {
  readonly name: string;
  readonly kind: 'branch' | 'tag';
  readonly before: ObjectId;
  /** Undefined for a tag that goes with its version, and in a dry run. */
  readonly after: ObjectId | undefined;
  /** Whether it is a tag that goes with its version, in a dry run too. */
  readonly removed: boolean;
}

export interface ForgetResult {
  /** Newest first. */
  readonly forgotten: readonly ForgottenVersion[];
  /** Versions that stay in the branches that were asked for. */
  readonly kept: number;
  readonly refs: readonly MovedRef[];
  readonly dryRun: boolean;
  /** Branches of remotes (`origin/web`) that lead to versions of the branches as they were: `gc` keeps those, and without `pushed` they are not forgotten. */
  readonly remotes: readonly string[];
}

/** Where the refs were before: `gc` keeps what they led to as long as it keeps other unreachable objects. */
export function forgottenLogs({ folder, rules }: Store): Reflogs {
  return new Reflogs(join(folder, 'imgstore'), rules);
}

/**
 * Takes versions out of the history of branches. What follows them is written again with other parents, and so has new ids; the old ones still lead there. The disks of
 * forgotten versions stay in the store until `gc` removes them.
 * @throws ImgstoreError `USAGE` for a version that cannot be forgotten, `NOT_FOUND`, `DAMAGED`, `REF_MOVED` when somebody commits meanwhile, `IO`
 */
export async function forgetVersions(store: Store, request: ForgetRequest): Promise<ForgetResult> {
  const plan = await planForget(store, request);
  const result = {
    forgotten: [...plan.forgotten].map((id) => describeForgotten(store, id)),
    kept: plan.kept,
    remotes: plan.remotes,
    dryRun: request.dryRun ?? false,
  };
  if (plan.forgotten.size === 0) return { ...result, refs: [] };
  const transaction = store.begin();
  try {
    const renamed = await rewriteCommits(store, plan, transaction);
    const moves = await findMoves(store, plan, renamed, transaction);
    if (!request.dryRun) {
      await transaction.publish();
      // Tags first, and each branch when nothing else leads to its old versions: who is stopped between can run it again.
      for (const move of moves) await moveRef(store, move, plan, renamed);
    }
    const refs = moves.map(({ name, before, after }) => ({
      name: shortRefName(name),
      kind: name.startsWith(TAGS) ? ('tag' as const) : ('branch' as const),
      before,
      after: after === NULL_ID || request.dryRun ? undefined : after,
      removed: after === NULL_ID,
    }));
    return { ...result, refs };
  } finally {
    await transaction.discard();
  }
}

interface Move {
  readonly name: string;
  readonly before: ObjectId;
  readonly after: ObjectId;
}

async function findMoves(
  store: Store,
  { branches, tags }: ForgetPlan,
  renamed: ReadonlyMap<ObjectId, ObjectId>,
  transaction: ObjectTransaction,
): Promise<readonly Move[]> {
  const moves: Move[] = [];
  for (const { name, id: commit } of [...tags, ...branches]) {
    const before = await store.refs.resolve(name);
    if (before === undefined) continue;
    // What was committed since the plan was made is not in it, and must not be left behind.
    if (store.objects.peel(before) !== commit) throw refMoved(name, commit, before);
    const now = renamed.get(commit);
    const after = now === undefined ? NULL_ID : await withTag(store, before, now, transaction);
    if (after !== before) moves.push({ name, before, after });
  }
  return moves;
}

/** An annotated tag is an object that names its version: one for the version's new id. */
async function withTag(
  store: Store,
  ref: ObjectId,
  commit: ObjectId,
  transaction: ObjectTransaction,
): Promise<ObjectId> {
  if (store.objects.header(ref).type !== 'tag') return commit;
  const tag = parseTag(store.objects.readAs('tag', ref));
  const object = await withTag(store, tag.object, commit, transaction);
  return object === tag.object ? ref : transaction.put('tag', encodeTag({ ...tag, object }));
}

async function moveRef(
  store: Store,
  { name, before, after }: Move,
  { forgotten }: ForgetPlan,
  renamed: ReadonlyMap<ObjectId, ObjectId>,
): Promise<void> {
  const person = currentPerson('committer', store.config);
  const message = 'forget: thinned the history';
  await forgottenLogs(store).append(name, { before, after, person, message });
  const isLogged = !name.startsWith(TAGS);
  const history = isLogged ? renameLog(await store.refs.logs.read(name), forgotten, renamed) : [];
  await store.refs.update({ name, before, after, person, message }, history.length > 0 ? { history } : {});
}

/** The lines of a log but for those of forgotten versions: kept ones under their new ids, and what was no part of the histories as it was. */
function renameLog(
  entries: readonly ReflogEntry[],
  forgotten: ReadonlySet<ObjectId>,
  renamed: ReadonlyMap<ObjectId, ObjectId>,
): ReflogEntry[] {
  const lines: ReflogEntry[] = [];
  for (const entry of entries) {
    if (forgotten.has(entry.after)) continue;
    const after = renamed.get(entry.after) ?? entry.after;
    lines.push({ ...entry, before: lines.at(-1)?.after ?? NULL_ID, after });
  }
  return lines;
}
