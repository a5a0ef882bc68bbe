import type { ObjectId } from '../id.ts';
import { clustersPerSlot, FAN_OUT, type MapRoot } from './geometry.ts';
import { emptyNode, type MapNode } from './node.ts';
import { type ReadTree, readOrSkip, type SkipNode } from './walk.ts';

/** One cluster whose bytes differ between two maps; an undefined side is zeros. */
export interface MapChange {
  readonly cluster: number;
  readonly before: ObjectId | undefined;
  readonly after: ObjectId | undefined;
}

/**
 * The clusters that differ between two maps, in order. Subtrees with equal ids are equal and never read, so the cost is that of what changed.
 * Maps of different heights are compared as if the lower stood in slot `00` of the higher, which is what growth makes of it.
 * @param skip called for nodes of `after` that cannot be read, which then count as zeros; else they are thrown for
 */
export async function* diffMaps(
  read: ReadTree,
  before: MapRoot,
  after: MapRoot,
  skip?: SkipNode,
): AsyncGenerator<MapChange> {
  const level = Math.max(before.levels, after.levels);
  yield* diffNodes(read, { root: before, level }, { root: after, level, skip }, level, 0);
}

/** A place in a map: a real node, or a level above the map's own root, where only slot `00` leads anywhere. */
interface Place {
  readonly root: MapRoot;
  readonly level: number;
  readonly skip?: SkipNode | undefined;
}

async function* diffNodes(
  read: ReadTree,
  a: Place,
  b: Place,
  level: number,
  first: number,
): AsyncGenerator<MapChange> {
  if (a.root.id === b.root.id && a.root.levels === b.root.levels) return;
  const before = await load(read, a, first);
  const after = await load(read, b, first);
  const span = clustersPerSlot(level);
  for (let slot = 0; slot < FAN_OUT; slot++) {
    const x = before[slot];
    const y = after[slot];
    if (level === 1) {
      if (x !== y) yield { cluster: first + slot, before: x, after: y };
    } else if (x !== y || (slot === 0 && a.root.levels !== b.root.levels)) {
      yield* diffNodes(read, below(a, x, slot), below(b, y, slot), level - 1, first + slot * span);
    }
  }
}

function below(place: Place, id: ObjectId | undefined, slot: number): Place {
  const level = place.level - 1;
  if (slot === 0 && place.root.levels < place.level) return { ...place, level };
  return { ...place, root: { id, levels: level }, level };
}

async function load(read: ReadTree, place: Place, first: number): Promise<MapNode> {
  const { id, levels } = place.root;
  if (id === undefined || levels < place.level) return emptyNode();
  return readOrSkip(read, id, levels, first, place.skip);
}
