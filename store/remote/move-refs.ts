import { isImgstoreError } from '../../errors/index.ts';
import { NULL_ID } from '../../objects/index.ts';
import { currentPerson } from '../person.ts';
import type { Store } from '../store.ts';
import type { RefChange } from './ref-change.ts';

/**
 * Moves refs of the store, each by itself: one that another process has moved, or whose name another has, is rejected, and the others go on.
 * @param message for the reflog, of each kind
 * @throws ImgstoreError `IO`, `INTERRUPTED`
 */
export async function moveRefs(
  store: Store,
  changes: readonly RefChange[],
  message: (change: RefChange) => string,
): Promise<RefChange[]> {
  const person = currentPerson('committer', store.config);
  const moved: RefChange[] = [];
  for (const change of changes) {
    const { ref, from, to, kind } = change;
    if (kind === 'rejected' || kind === 'unchanged') {
      moved.push(change);
      continue;
    }
    try {
      const ids = { before: from ?? NULL_ID, after: to ?? NULL_ID };
      await store.refs.update({ name: ref, ...ids, person, message: message(change) });
      moved.push(change);
    } catch (error) {
      if (!isImgstoreError(error) || ['IO', 'INTERRUPTED'].includes(error.code)) throw error;
      moved.push({ ...change, kind: 'rejected', reason: error.message });
    }
  }
  return moved;
}
