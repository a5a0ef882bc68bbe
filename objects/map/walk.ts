import { ImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../id.ts';
import { clustersPerSlot, FAN_OUT, type MapRoot } from './geometry.ts';
import { type MapNode, parseNode } from './node.ts';

/** Reads a tree object's data by its id; a walk asks only for the nodes that it enters. */
export type ReadTree = (id: ObjectId) => Promise<Uint8Array>;

/** Reads a node of a map. @throws ImgstoreError `DAMAGED` naming the tree, and what `read` throws. */
export async function readNode(read: ReadTree, id: ObjectId, level: number): Promise<MapNode> {
  const data = await read(id);
  try {
    return parseNode(data, level);
  } catch (error) {
    if (!(error instanceof ImgstoreError)) throw error;
    throw new ImgstoreError(error.code, `tree ${id}: ${error.message}`, { ...error.data, id }, error);
  }
}

/** A lowest node: up to 256 neighbouring clusters. */
export interface MapLeaf {
  readonly id: ObjectId;
  /** Number of the cluster in slot 0. */
  readonly first: number;
  readonly node: MapNode;
}

/**
 * Walks the lowest nodes of a map that have entries within the clusters [from, to), in order. Nodes are read as the walk
 * comes to them, so an empty part costs nothing and memory holds one path. A leaf is yielded whole: its first and last may reach out of the range.
 */
export async function* walkMap(
  read: ReadTree,
  root: MapRoot,
  from = 0,
  to = Number.MAX_SAFE_INTEGER,
): AsyncGenerator<MapLeaf> {
  if (root.id !== undefined) yield* walkNode(read, root.id, root.levels, 0, from, to);
}

async function* walkNode(
  read: ReadTree,
  id: ObjectId,
  level: number,
  first: number,
  from: number,
  to: number,
): AsyncGenerator<MapLeaf> {
  const node = await readNode(read, id, level);
  if (level === 1) {
    yield { id, first, node };
    return;
  }
  const span = clustersPerSlot(level);
  for (let slot = 0; slot < FAN_OUT; slot++) {
    const start = first + slot * span;
    const below = node[slot];
    if (below === undefined || start + span <= from) continue;
    if (start >= to) return;
    yield* walkNode(read, below, level - 1, start, from, to);
  }
}
