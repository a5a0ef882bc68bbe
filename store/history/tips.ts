import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { type ObjectId, parseCommit } from '../../objects/index.ts';
import { type DamagedRef, describeDamage } from '../refs/damage.ts';
import { TAGS } from '../refs/name.ts';
import type { Ref } from '../refs/refs.ts';
import type { Store } from '../store.ts';

/** The commits that refs lead to, and the refs that lead to none. */
export interface Tips {
  /** With the ids of the commits, through tags. */
  readonly tips: readonly Ref[];
  readonly damaged: readonly DamagedRef[];
}

/**
 * The commits that the refs below `prefixes` lead to. A tag may be at any kind of object; all others must lead to a commit that is there.
 * @throws ImgstoreError `DAMAGED` for a line of `packed-refs`, `IO`
 */
export async function findTips(store: Store, ...prefixes: readonly string[]): Promise<Tips> {
  const tips: Ref[] = [];
  const damaged: DamagedRef[] = [];
  const { refs, unreadable } = await store.refs.survey();
  const isAsked = ({ name }: { name: string }) => prefixes.some((prefix) => name.startsWith(prefix));
  for (const { name, fault } of unreadable.filter(isAsked))
    damaged.push({ name, id: undefined, message: await describeDamage(store, name, fault) });
  for (const { name, id } of refs.filter(isAsked)) {
    try {
      const commit = commitOf(store, name, id);
      if (commit !== undefined) tips.push({ name, id: commit });
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      damaged.push({ name, id, message: await describeDamage(store, name, error) });
    }
  }
  return { tips, damaged };
}

/** The commit that a ref at an object leads to; undefined for a tag of something else. */
function commitOf(store: Store, name: string, id: ObjectId): ObjectId | undefined {
  const peeled = store.objects.peel(id);
  const { type } = store.objects.header(peeled);
  if (type === 'commit') {
    parseCommit(store.objects.readAs('commit', peeled));
    return peeled;
  }
  if (name.startsWith(TAGS)) return undefined;
  throw new ImgstoreError('DAMAGED', `leads to a ${type}, not to a version`, { name, id });
}

/**
 * The last version of a branch, to commit on; undefined when there is no such branch.
 * @throws ImgstoreError `DAMAGED` saying what to do when the branch cannot be read or is at no commit
 */
export async function branchTip(store: Store, ref: string): Promise<ObjectId | undefined> {
  try {
    const id = await store.refs.resolve(ref);
    // The object itself, no tag of it: it becomes the parent of a commit.
    if (id !== undefined) store.objects.readAs('commit', id);
    return id;
  } catch (error) {
    if (!isImgstoreError(error)) throw error;
    const message = await describeDamage(store, ref, error);
    throw new ImgstoreError('DAMAGED', message, { ...error.data, ref }, error);
  }
}
