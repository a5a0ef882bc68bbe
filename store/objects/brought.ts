import type { ObjectId } from '../../objects/index.ts';
import type { ObjectDatabase } from './database.ts';

/** Objects that are asked for together. */
const AHEAD = 64;

/** The same items in the same order, each when what it names can be read: see {@link ObjectDatabase.bring}. */
export async function* brought<Item extends { readonly id: ObjectId | undefined }>(
  database: ObjectDatabase,
  items: AsyncIterable<Item>,
): AsyncGenerator<Item> {
  let ahead: Item[] = [];
  for await (const item of items) {
    ahead.push(item);
    if (ahead.length < AHEAD) continue;
    await bring(ahead);
    yield* ahead;
    ahead = [];
  }
  await bring(ahead);
  yield* ahead;

  function bring(some: readonly Item[]): Promise<void> {
    return database.bring(some.map(({ id }) => id).filter((id) => id !== undefined));
  }
}
