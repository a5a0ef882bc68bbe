import { existsSync, statSync } from 'node:fs';
import { fromSystem, systemCode } from '../../errors/index.ts';
import type { ObjectId, ObjectType } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { ObjectMarks } from '../objects/marks.ts';
import { removeLoose } from '../pack/remove-packed.ts';
import type { Store } from '../store.ts';
import { GOES, modifiedMs, type PackFate } from './plan.ts';

/** What leads to others goes before what it leads to, so that a kill leaves nothing that leads to what is gone. */
const ORDER: readonly ObjectType[] = ['tag', 'commit', 'tree', 'blob'];

/** Loose objects that nothing leads to and that are old enough. @param cutoffMs ms since 1970 */
export function oldLoose(database: ObjectDatabase, marks: ObjectMarks, cutoffMs: number): ObjectId[] {
  return [...database.loose.ids()].filter((id) => !marks.has(id) && isOld(database, id, cutoffMs));
}

/** How many loose objects nothing leads to. */
export function looseUnreachable({ loose }: ObjectDatabase, marks: ObjectMarks): number {
  let count = 0;
  for (const id of loose.ids()) if (!marks.has(id)) count++;
  return count;
}

/** Removes them; each is looked at once more, as somebody may be about to use it again. Returns how many went. */
export async function sweepLoose(
  store: Store,
  ids: readonly ObjectId[],
  marks: ObjectMarks,
  cutoffMs: number,
): Promise<number> {
  const { objects } = store;
  let removed = 0;
  const kinds = new Map(ids.map((id) => [id, kindOf(objects, id)]));
  for (const type of [...ORDER, undefined]) {
    const gone = ids.filter((id) => kinds.get(id) === type && !marks.has(id) && isOld(objects, id, cutoffMs));
    await removeLoose(store, gone);
    removed += gone.length;
  }
  return removed;
}

/** Whether a pack that was written anew may go: nobody has used it since, and nothing has come to lead to what was left out. */
export function mayGo({ pack, mtimeMs, fates }: PackFate, marks: ObjectMarks): boolean {
  if (!existsSync(pack.path) || modifiedMs(pack) !== mtimeMs) return false;
  return fates.every((fate, position) => fate !== GOES || !marks.has(pack.idx.id(position)));
}

function isOld({ loose }: ObjectDatabase, id: ObjectId, cutoffMs: number): boolean {
  const path = loose.path(id);
  try {
    return statSync(path).mtimeMs < cutoffMs;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw fromSystem(error, path);
  }
}

/** Undefined for what cannot be read: nothing leads to it, and it leads nowhere. */
function kindOf({ loose }: ObjectDatabase, id: ObjectId): ObjectType | undefined {
  try {
    return loose.header(id)?.type;
  } catch {
    return undefined;
  }
}
