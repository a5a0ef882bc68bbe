import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { walkCommits } from '../history/walk.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import { readSuccession } from './headers.ts';

/** What became of a version that `forget` has written again or left out. */
export interface Successor {
  /** The version itself under its id of now, or the next one that was kept. */
  readonly commit: ObjectId;
  readonly isSame: boolean;
}

/**
 * What became of the versions whose ids begin with some hex digits, by their old ids. Reads all commits.
 * @param tips what refs lead to
 */
export function findSuccessors(
  database: ObjectDatabase,
  tips: readonly ObjectId[],
  prefix: string,
): ReadonlyMap<ObjectId, Successor> {
  const found = new Map<ObjectId, Successor>();
  const commits = tips.flatMap((tip) => commitBehind(database, tip) ?? []);
  for (const { id, commit } of walkCommits(database, commits, () => {})) {
    const { was, forgot } = readSuccession(commit);
    for (const old of forgot)
      if (old.startsWith(prefix) && !found.has(old)) found.set(old, { commit: id, isSame: false });
    for (const old of was) if (old.startsWith(prefix)) found.set(old, { commit: id, isSame: true });
  }
  return found;
}

/** Whether `forget` was ever used here; a copy of the store may have its commits all the same. */
export function hasForgotten(storeFolder: string): boolean {
  return existsSync(join(storeFolder, 'imgstore', 'logs'));
}

/** The commit that a ref leads to, through tags; undefined for one of something else, or that is gone. */
function commitBehind(database: ObjectDatabase, id: ObjectId): ObjectId | undefined {
  try {
    const peeled = database.peel(id);
    return database.header(peeled).type === 'commit' ? peeled : undefined;
  } catch (error) {
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
}
