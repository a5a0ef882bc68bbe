import {
  MapEditor,
  type MapRoot,
  mapLevels,
  type ObjectId,
  objectId,
  walkMap,
} from '../../../objects/index.ts';

/** Trees in memory, with the ids of all reads and writes. */
export class TreeStore {
  readonly trees = new Map<ObjectId, Buffer>();
  readonly reads: ObjectId[] = [];
  readonly writes: ObjectId[] = [];

  readonly read = async (id: ObjectId): Promise<Uint8Array> => {
    this.reads.push(id);
    const tree = this.trees.get(id);
    if (tree === undefined) throw new Error(`no tree ${id}`);
    return tree;
  };

  readonly write = async (data: Uint8Array): Promise<ObjectId> => {
    const id = objectId('tree', data);
    this.writes.push(id);
    this.trees.set(id, Buffer.from(data));
    return id;
  };

  forgetCounts(): void {
    this.reads.length = 0;
    this.writes.length = 0;
  }

  /** Puts changes onto a map. */
  async edit(changes: Model, levels: number, base?: MapRoot): Promise<MapRoot> {
    const editor = new MapEditor(this.read, this.write, levels, base);
    for (const [cluster, id] of inOrder(changes)) await editor.set(cluster, id);
    return { id: await editor.finish(), levels };
  }

  /** A map of exactly these clusters, and of the fewest levels for them unless said. */
  build(clusters: Model, levels = mapLevels(Math.max(0, ...clusters.keys()) + 1)): Promise<MapRoot> {
    return this.edit(clusters, levels);
  }

  /** The clusters of a map. */
  async clusters(root: MapRoot): Promise<Model> {
    const found: Model = new Map();
    for await (const { first, node } of walkMap(this.read, root))
      for (const [slot, id] of node.entries()) if (id !== undefined) found.set(first + slot, id);
    return found;
  }
}

/** What a map is: blobs by number of cluster. As a change, undefined makes zeros. */
export type Model = Map<number, ObjectId | undefined>;

/** A model's rows by number of cluster. */
export function inOrder(model: Model): [number, ObjectId | undefined][] {
  return [...model].sort(([a], [b]) => a - b);
}

/** The id of the n-th blob. */
export function blob(n: number): ObjectId {
  return n.toString(16).padStart(64, '0');
}
