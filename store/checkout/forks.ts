import type { ObjectId } from '../../objects/index.ts';
import { findTips } from '../history/tips.ts';
import { walkCommits } from '../history/walk.ts';
import { BRANCHES, VERSION_REFS } from '../refs/name.ts';
import type { Store } from '../store.ts';

/**
 * The versions at which history forks, whose disks several others share: those with two or more children among all that branches and tags
 * lead to, and those with one that a branch is at, since the next commit to it makes a second. A tag alone makes none: tags along one line would make a chain of it.
 * What cannot be read is passed over. Children by further parents of a merge do not count, as their disks are compared with the first.
 * @throws ImgstoreError `DAMAGED` for a line of `packed-refs`, `IO`
 */
export async function findForks(store: Store): Promise<ReadonlySet<ObjectId>> {
  const { tips } = await findTips(store, ...VERSION_REFS);
  const children = new Map<ObjectId, number>();
  const starts = tips.map(({ id }) => id);
  for (const { commit } of walkCommits(store.objects, starts, passOver)) {
    const [parent] = commit.parents;
    if (parent !== undefined) children.set(parent, (children.get(parent) ?? 0) + 1);
  }
  const branches = new Set(tips.filter(({ name }) => name.startsWith(BRANCHES)).map(({ id }) => id));
  const forks = [...children].filter(([id, count]) => count > 1 || branches.has(id));
  return new Set(forks.map(([id]) => id));
}

function passOver(): void {
  // A checkout of what is whole must not fail for another branch; the verbs that list say what is damaged.
}
