import { isImgstoreError } from '../../../errors/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import type { RemoteSnapshot } from '../../../remote/index.ts';
import type { Monitor } from '../../progress.ts';
import { type OutgoingMarks, outgoingMarks } from '../mark-missing.ts';
import { walkContent } from '../walk-content.ts';
import type { BucketRemote } from './bucket-remote.ts';
import type { Incoming } from './incoming.ts';
import { RemoteMarks } from './remote-marks.ts';

/** What a check of a bucket has found; its whole packs are in use as indexes. */
export interface CheckedBucket {
  readonly snapshot: RemoteSnapshot;
  /** Has the whole packs of maps. */
  readonly incoming: Incoming;
}

/** What a bucket's refs lead to and its whole packs lack. */
export interface LostObjects {
  /** What a store can send again. */
  readonly found: OutgoingMarks;
  /** What it cannot. */
  readonly lost: readonly ObjectId[];
}

/**
 * Looks for what a bucket has lost.
 * @param withStore whether the store may have it still; if not, the bucket is seen as by one who has nothing
 * @throws ImgstoreError `DAMAGED`, `INTERRUPTED`
 */
export async function findLost(
  { indexes, store }: BucketRemote,
  { snapshot, incoming }: CheckedBucket,
  withStore: boolean,
  monitor: Monitor,
): Promise<LostObjects> {
  const met = new RemoteMarks(indexes);
  const found = outgoingMarks(store.objects);
  const lost = new Set<ObjectId>();
  const isHere = (id: ObjectId) => withStore && store.objects.isStored(id);
  // What the bucket has was checked just now; of the store nobody knows.
  const isOnlyHere = (id: ObjectId) => isHere(id) && !indexes.has(id, 'maps');
  const meet = (id: ObjectId, kind: keyof OutgoingMarks): boolean => {
    if (!met.mark(id)) return false;
    if (indexes.hasAs(id, kind)) return true;
    if (isHere(id)) found[kind].mark(id);
    else if (!indexes.has(id)) lost.add(id);
    return true;
  };
  for (const root of new Set(snapshot.content.refs.values())) {
    try {
      await walkContent([root], {
        read: (id) => (isOnlyHere(id) ? store.objects : incoming.objects).read(id),
        isKnown: () => false,
        meet,
        monitor,
      });
    } catch (error) {
      // Where the way ends: what is behind it cannot be known.
      if (!isImgstoreError(error, 'NOT_FOUND') || typeof error.data.id !== 'string') throw error;
      lost.add(error.data.id);
    }
  }
  return { found, lost: [...lost] };
}
