import type { ObjectId } from '../../objects/index.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';
import type { Store } from '../store.ts';
import { readSuccession, withParents } from './headers.ts';
import type { ForgetPlan } from './plan.ts';

/** What a kept commit or the nearest kept ones before a forgotten commit are now. */
type Images = Map<ObjectId, readonly ObjectId[]>;

/**
 * Writes the kept commits again whose history changes, each with the nearest kept ones before it as parents.
 * @returns the new id of each kept commit, also where it is the old one
 */
export async function rewriteCommits(
  store: Store,
  { commits, forgotten }: ForgetPlan,
  transaction: ObjectTransaction,
): Promise<ReadonlyMap<ObjectId, ObjectId>> {
  const images: Images = new Map();
  const renamed = new Map<ObjectId, ObjectId>();
  for (const [id, commit] of commits) {
    const parents = [...new Set(commit.parents.flatMap((parent) => images.get(parent) ?? [parent]))];
    if (forgotten.has(id)) {
      images.set(id, parents);
      continue;
    }
    const isSame =
      parents.length === commit.parents.length && parents.every((parent, i) => parent === commit.parents[i]);
    const now = isSame ? id : await write(id, parents);
    images.set(id, [now]);
    renamed.set(id, now);
  }
  return renamed;

  async function write(id: ObjectId, parents: readonly ObjectId[]): Promise<ObjectId> {
    const data = withParents(store.objects.readAs('commit', id), parents, { was: [id], forgot: skipped(id) });
    return transaction.put('commit', data);
  }

  /** The forgotten commits right before a kept one, with those that they stand for themselves. */
  function skipped(id: ObjectId): readonly ObjectId[] {
    const found = new Set<ObjectId>();
    const open = [...commits.get(id)!.parents];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const commit = commits.get(next);
      if (commit === undefined || !forgotten.has(next) || found.has(next)) continue;
      found.add(next);
      const { was, forgot } = readSuccession(commit);
      for (const older of [...was, ...forgot]) found.add(older);
      open.push(...commit.parents);
    }
    return [...found];
  }
}
