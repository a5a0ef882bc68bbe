import { ImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../id.ts';
import { clustersPerSlot, FAN_OUT, type MapRoot } from './geometry.ts';
import { emptyNode, encodeNode, type MapNode } from './node.ts';
import { type ReadTree, readNode } from './walk.ts';

/** Stores a tree object and returns its id. */
export type WriteTree = (data: Uint8Array) => Promise<ObjectId>;

/** The id of a tree without entries, as every git of SHA-256 knows it. */
const EMPTY_TREE: ObjectId = '6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321';

/** A node that is open for changes, on the path to the cluster that was set last. */
interface OpenNode {
  readonly level: number;
  /** Number of the first cluster below the node. */
  readonly first: number;
  readonly node: MapNode;
  /** The id it was read from; undefined for a new node. */
  readonly was: ObjectId | undefined;
  changed: boolean;
}

/**
 * Makes a new cluster map out of an old one (or of nothing) and changes that come in ascending order. Nodes that no change
 * touches keep their ids and are not read; memory holds one path from the root to a leaf, whatever the disk's size.
 */
export class MapEditor {
  readonly #read: ReadTree;
  readonly #write: WriteTree;
  readonly #levels: number;
  readonly #base: MapRoot;
  /** From the root down. Empty until the first change. */
  readonly #path: OpenNode[] = [];
  #last = -1;

  /**
   * @param levels of the new map
   * @param base the map to start from; a higher one loses what lies outside of its slot `00`
   */
  constructor(read: ReadTree, write: WriteTree, levels: number, base: MapRoot = { id: undefined, levels }) {
    this.#read = read;
    this.#write = write;
    this.#levels = levels;
    this.#base = base;
  }

  /**
   * Sets a cluster's blob, or makes it zeros with undefined. Returns what it was.
   * @throws ImgstoreError `USAGE` when `cluster` is not above the last one or beyond the map.
   */
  async set(cluster: number, id: ObjectId | undefined): Promise<ObjectId | undefined> {
    if (cluster <= this.#last || cluster >= clustersPerSlot(this.#levels + 1)) {
      throw new ImgstoreError('USAGE', `cluster ${cluster} is out of order or beyond the map`, {
        cluster,
        last: this.#last,
      });
    }
    this.#last = cluster;
    await this.#enter(cluster);
    const leaf = this.#path.at(-1)!;
    const slot = cluster - leaf.first;
    const was = leaf.node[slot];
    if (was === id) return was;
    leaf.node[slot] = id;
    leaf.changed = true;
    return was;
  }

  /** Writes what is still open and returns the root: the id of an empty tree when nothing is left. */
  async finish(): Promise<ObjectId> {
    if (this.#path.length === 0) await this.#openRoot();
    while (this.#path.length > 1) await this.#close();
    const root = this.#path.pop()!;
    return root.changed || root.was === undefined ? this.#write(encodeNode(root.node, root.level)) : root.was;
  }

  /** Opens the path down to the leaf of `cluster`, closing what lies beside it. */
  async #enter(cluster: number): Promise<void> {
    if (this.#path.length === 0) await this.#openRoot();
    for (let top = this.#path.at(-1)!; !covers(top, cluster); top = this.#path.at(-1)!) await this.#close();
    for (let top = this.#path.at(-1)!; top.level > 1; top = this.#path.at(-1)!) {
      const slot = slotOf(top, cluster);
      await this.#open(top.level - 1, top.first + slot * clustersPerSlot(top.level), top.node[slot]);
    }
  }

  async #open(level: number, first: number, id: ObjectId | undefined): Promise<void> {
    const node = id === undefined ? emptyNode() : await readNode(this.#read, id, level);
    this.#path.push({ level, first, node, was: id, changed: false });
  }

  /** Writes the lowest open node, if it changed, and hangs it into the one above. */
  async #close(): Promise<void> {
    const done = this.#path.pop()!;
    if (!done.changed) return;
    const empty = done.node.every((id) => id === undefined);
    const id = empty ? undefined : await this.#write(encodeNode(done.node, done.level));
    const above = this.#path.at(-1)!;
    const slot = slotOf(above, done.first);
    if (above.node[slot] === id) return;
    above.node[slot] = id;
    above.changed = true;
  }

  /** Opens the base's root, or what takes its place in a map of another height. */
  async #openRoot(): Promise<void> {
    let { id, levels } = this.#base;
    for (; levels > this.#levels && id !== undefined; levels--)
      id = (await readNode(this.#read, id, levels))[0];
    if (levels >= this.#levels) return this.#open(this.#levels, 0, id);
    for (let level = this.#levels; level > levels; level--)
      this.#path.push({ level, first: 0, node: emptyNode(), was: undefined, changed: true });
    // Only a root may be an empty tree: below it, zeros are no entry.
    this.#path.at(-1)!.node[0] = id === EMPTY_TREE ? undefined : id;
  }
}

function covers(node: OpenNode, cluster: number): boolean {
  return cluster < node.first + clustersPerSlot(node.level) * FAN_OUT;
}

function slotOf(node: OpenNode, cluster: number): number {
  return Math.floor((cluster - node.first) / clustersPerSlot(node.level));
}
