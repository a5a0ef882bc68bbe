import type { ObjectId } from '../../objects/index.ts';
import { walkCommits } from '../history/walk.ts';
import type { ObjectDatabase } from '../objects/database.ts';

/** The commits that are here of those that refs lead to: whoever has the refs has these whole. What cannot be read is left out, with what is behind it. */
export function commitsBelow(objects: ObjectDatabase, tips: Iterable<ObjectId>): ReadonlySet<ObjectId> {
  const here = [...new Set(tips)].filter((id) => objects.isStored(id)).map((id) => objects.peel(id));
  const commits = here.filter((id) => objects.isStored(id) && objects.header(id).type === 'commit');
  return new Set([...walkCommits(objects, commits, () => {})].map(({ id }) => id));
}
