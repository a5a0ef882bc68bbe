import type { ObjectId } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import { ObjectMarks } from '../objects/marks.ts';
import type { ContentKind } from '../objects/new-objects.ts';
import type { Monitor } from '../progress.ts';
import { commitsBelow } from './commits-below.ts';
import { walkContent } from './walk-content.ts';

/** Objects that are to go over: clusters, and apart from them what leads to clusters. */
export type OutgoingMarks = Readonly<Record<ContentKind, ObjectMarks>>;

/** What a remote has. */
export interface RemoteSide {
  /** Where its refs are: what they lead to, it has whole. */
  readonly tips: Iterable<ObjectId>;
  /** The database that its commits are looked up in. */
  readonly commits: ObjectDatabase;
  /** Of all else it is asked object by object. */
  readonly has: (id: ObjectId, kind: ContentKind) => boolean;
}

/** Marks for objects of a database; none is marked yet. */
export function outgoingMarks(objects: ObjectDatabase): OutgoingMarks {
  return { data: new ObjectMarks(objects), maps: new ObjectMarks(objects) };
}

/**
 * The objects that some ids lead to and a remote lacks.
 * @throws ImgstoreError `NOT_FOUND`, `DAMAGED`, `INTERRUPTED`
 */
export async function markMissing(
  objects: ObjectDatabase,
  wanted: Iterable<ObjectId>,
  remote: RemoteSide,
  monitor: Monitor,
): Promise<OutgoingMarks> {
  const known = commitsBelow(remote.commits, remote.tips);
  const met = new ObjectMarks(objects);
  const marks = outgoingMarks(objects);
  await walkContent(wanted, {
    read: (id) => objects.read(id),
    isKnown: (id) => known.has(id),
    meet: (id, kind) => {
      if (!met.mark(id)) return false;
      if (!remote.has(id, kind)) marks[kind].mark(id);
      return true;
    },
    monitor,
  });
  return marks;
}
