import { isImgstoreError } from '../../errors/index.ts';
import { type MapRoot, type ObjectId, readNode } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';

/** Whether all trees of a cluster map are in the store. The lowest ones are not read, and clusters not looked for. */
export async function hasMap(database: ObjectDatabase, { id, levels }: MapRoot): Promise<boolean> {
  try {
    return id === undefined || (await hasNode(database, id, levels));
  } catch (error) {
    if (isImgstoreError(error)) return false;
    throw error;
  }
}

async function hasNode(database: ObjectDatabase, id: ObjectId, level: number): Promise<boolean> {
  if (!database.has(id)) return false;
  if (level === 1) return true;
  for (const below of await readNode(database.readTree, id, level))
    if (below !== undefined && !(await hasNode(database, below, level - 1))) return false;
  return true;
}
