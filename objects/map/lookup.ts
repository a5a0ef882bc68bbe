import type { ObjectId } from '../id.ts';
import { clustersPerSlot, FAN_OUT, type MapRoot } from './geometry.ts';
import type { MapNode } from './node.ts';
import { nodeOf } from './walk.ts';

/** Nodes that are kept: leaves of 10 GiB in clusters of 64 KiB, some 20 MB. */
const MOST_NODES = 700;

/**
 * Finds clusters of maps by their numbers, one at a time. The nodes on the way are kept, the least recently used given up first; equal parts of several maps are the same nodes. Parsing a full node
 * takes 0.1 ms, finding a cluster in one that is kept less than a microsecond.
 */
export class MapLookup {
  readonly #read: (id: ObjectId) => Uint8Array;
  readonly #nodes = new Map<ObjectId, MapNode>();

  /** @param read the data of a tree by its id */
  constructor(read: (id: ObjectId) => Uint8Array) {
    this.#read = read;
  }

  /** The id of a cluster; undefined for zeros. @throws ImgstoreError `DAMAGED` naming the tree, and what reading throws */
  find({ id, levels }: MapRoot, cluster: number): ObjectId | undefined {
    let at = id;
    for (let level = levels; level >= 1 && at !== undefined; level--) {
      const slot = Math.floor(cluster / clustersPerSlot(level)) % FAN_OUT;
      at = this.#node(at, level)[slot];
    }
    return at;
  }

  /** The clusters in [from, to) that are not zeros, in order. @throws ImgstoreError as {@link MapLookup.find} */
  *clusters({ id, levels }: MapRoot, from: number, to: number): Generator<{ cluster: number; id: ObjectId }> {
    if (id !== undefined && from < to) yield* this.#below(id, levels, 0, from, to);
  }

  /** @param first number of the first cluster below the node */
  *#below(
    id: ObjectId,
    level: number,
    first: number,
    from: number,
    to: number,
  ): Generator<{ cluster: number; id: ObjectId }> {
    const node = this.#node(id, level);
    const span = clustersPerSlot(level);
    const end = Math.min(FAN_OUT, Math.ceil((to - first) / span));
    for (let slot = Math.max(0, Math.floor((from - first) / span)); slot < end; slot++) {
      const below = node[slot];
      if (below === undefined) continue;
      const start = first + slot * span;
      if (level === 1) yield { cluster: start, id: below };
      else yield* this.#below(below, level - 1, start, from, to);
    }
  }

  /** Gives up all nodes. */
  clear(): void {
    this.#nodes.clear();
  }

  #node(id: ObjectId, level: number): MapNode {
    const known = this.#nodes.get(id);
    if (known !== undefined) {
      this.#nodes.delete(id);
      this.#nodes.set(id, known);
      return known;
    }
    const node = nodeOf(id, this.#read(id), level);
    this.#nodes.set(id, node);
    if (this.#nodes.size > MOST_NODES) this.#nodes.delete(this.#nodes.keys().next().value!);
    return node;
  }
}
