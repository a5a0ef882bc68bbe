import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../id.ts';
import { clustersPerSlot, FAN_OUT, type MapRoot } from './geometry.ts';
import { emptyNode, type MapNode, parseNode } from './node.ts';

/** Reads a tree object's data by its id; a walk asks only for the nodes that it enters. */
export type ReadTree = (id: ObjectId) => Promise<Uint8Array>;

/** Reads a node of a map. @throws ImgstoreError `DAMAGED` naming the tree, and what `read` throws. */
export async function readNode(read: ReadTree, id: ObjectId, level: number): Promise<MapNode> {
  return nodeOf(id, await read(id), level);
}

/** Parses the data of a tree. @throws ImgstoreError `DAMAGED` naming the tree */
export function nodeOf(id: ObjectId, data: Uint8Array, level: number): MapNode {
  try {
    return parseNode(data, level);
  } catch (error) {
    if (!(error instanceof ImgstoreError)) throw error;
    throw new ImgstoreError(error.code, `tree ${id}: ${error.message}`, { ...error.data, id }, error);
  }
}

/** A node that cannot be read. */
export interface UnreadableNode {
  /** Number of the first cluster below it, and how many there may be. */
  readonly first: number;
  readonly clusters: number;
  /** `DAMAGED` or `NOT_FOUND`. */
  readonly error: ImgstoreError;
}

/** Called for a node that cannot be read, which is then taken for one without entries. */
export type SkipNode = (node: UnreadableNode) => void;

/**
 * As {@link readNode}, but one that is damaged or missing is skipped.
 * @param first number of the first cluster below it
 * @param skip undefined: it is thrown for
 */
export async function readOrSkip(
  read: ReadTree,
  id: ObjectId,
  level: number,
  first: number,
  skip: SkipNode | undefined,
): Promise<MapNode> {
  try {
    return await readNode(read, id, level);
  } catch (error) {
    if (skip === undefined || !(isImgstoreError(error, 'DAMAGED') || isImgstoreError(error, 'NOT_FOUND')))
      throw error;
    skip({ first, clusters: clustersPerSlot(level + 1), error });
    return emptyNode();
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
 * @param skip called for nodes that cannot be read, whose clusters are left out; else they are thrown for
 */
export async function* walkMap(
  read: ReadTree,
  root: MapRoot,
  from = 0,
  to = Number.MAX_SAFE_INTEGER,
  skip?: SkipNode,
): AsyncGenerator<MapLeaf> {
  if (root.id !== undefined) yield* walkNode(read, root.id, root.levels, 0, from, to, skip);
}

async function* walkNode(
  read: ReadTree,
  id: ObjectId,
  level: number,
  first: number,
  from: number,
  to: number,
  skip: SkipNode | undefined,
): AsyncGenerator<MapLeaf> {
  const node = await readOrSkip(read, id, level, first, skip);
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
    yield* walkNode(read, below, level - 1, start, from, to, skip);
  }
}
