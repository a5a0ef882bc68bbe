import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { encodeCommit, encodeTree, type ObjectId, type Person } from '../../../objects/index.ts';
import type { Store } from '../../../store/index.ts';
import { Refs } from '../../../store/refs/refs.ts';
import { newStore, type TestStore } from '../new-store.ts';

export const PERSON: Person = {
  name: 'R. Mover',
  email: 'mover@example.org',
  seconds: 1_700_000_000,
  zoneMinutes: 60,
};

/** Commits without a disk, each with the one before as its parent: ids for refs to hold. */
export async function someCommits(
  store: Store,
  count: number,
  parents: readonly ObjectId[] = [],
): Promise<ObjectId[]> {
  const transaction = store.begin();
  const tree = await transaction.put('tree', encodeTree([]));
  const ids: ObjectId[] = [];
  for (let i = 0; i < count; i++) {
    const person = { ...PERSON, seconds: PERSON.seconds + i };
    const above = ids.length === 0 ? parents : [ids.at(-1)!];
    const data = encodeCommit({
      tree,
      parents: above,
      author: person,
      committer: person,
      message: `${i}\n`,
      extra: [],
    });
    ids.push(await transaction.put('commit', data));
  }
  await transaction.publish();
  await transaction.discard();
  return ids;
}

/** A store with some commits, and its refs as another process would open them. */
export async function storeWithCommits(count = 4): Promise<TestStore & { ids: ObjectId[]; refs: Refs }> {
  const made = await newStore();
  return { ...made, ids: await someCommits(made.store, count), refs: new Refs(made.path) };
}

/** Moves a ref. */
export function move(
  refs: Refs,
  name: string,
  before: ObjectId | undefined,
  after: ObjectId,
  message = 'moved',
) {
  return refs.update({ name, before, after, person: PERSON, message });
}

/** A file of the store as text. */
export function fileText(path: string, name: string): string {
  return readFileSync(join(path, name), 'utf8');
}

/** Whether anything has this name. */
export function isThere(path: string, name: string): boolean {
  return statSync(join(path, name), { throwIfNoEntry: false }) !== undefined;
}
