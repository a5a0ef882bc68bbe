import { type ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { BRANCHES, TAGS } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { tryReadVersion } from '../version/version.ts';
import type { CommitGraph } from './commit-graph.ts';
import type { ChangeKind } from './ref-change.ts';

/**
 * What a move of a ref is. A tag is not meant to move, so whatever it did would be forced.
 * @param from undefined when the ref is not there
 */
export function kindOfMove(
  graph: CommitGraph,
  ref: string,
  from: ObjectId | undefined,
  to: ObjectId,
): Exclude<ChangeKind, 'deleted' | 'rejected'> {
  if (from === undefined) return 'new';
  if (from === to) return 'unchanged';
  return !ref.startsWith(TAGS) && graph.isAncestor(from, to) ? 'forward' : 'forced';
}

/**
 * Why a ref must not be made to lead to an object that came from elsewhere; undefined when it may. Below `refs/tags/` anything may be, elsewhere commits; a commit
 * that says to be a version must be one, and those that are new behind it.
 * @param isKnown commits that the store had
 */
export function faultOfTarget(
  store: Store,
  graph: CommitGraph,
  ref: string,
  id: ObjectId,
  isKnown: (id: ObjectId) => boolean,
): string | undefined {
  try {
    const object = ref.startsWith(BRANCHES) ? id : store.objects.peel(id);
    const { type } = store.objects.header(object);
    if (type !== 'commit')
      return ref.startsWith(TAGS) ? undefined : `it leads to a ${type}, not to a version`;
    for (const commit of graph.from([object], isKnown)) {
      let fault: ImgstoreError | undefined;
      tryReadVersion(store.objects, commit, (damage) => {
        fault = damage;
      });
      if (fault !== undefined) return fault.message;
    }
    return undefined;
  } catch (error) {
    if (isImgstoreError(error)) return error.message;
    throw error;
  }
}
