import {
  clustersPerSlot,
  type MapRoot,
  type ObjectId,
  parseNode,
  type ReadTree,
} from '../../objects/index.ts';

/** Nodes whose counts are kept: counting the versions of a disk costs one read of each node that differs between them. */
const MOST_NODES = 100_000;

/** Counts the stored clusters of maps, each shared node once. */
export class ClusterCounter {
  readonly #read: ReadTree;
  readonly #counts = new Map<ObjectId, number>();

  constructor(read: ReadTree) {
    this.#read = read;
  }

  /** Number of clusters in a map that are not zeros. */
  async count({ id, levels }: MapRoot): Promise<number> {
    return id === undefined ? 0 : this.#countNode(id, levels);
  }

  async #countNode(id: ObjectId, level: number): Promise<number> {
    const known = this.#counts.get(id);
    if (known !== undefined) return known;
    const below = parseNode(await this.#read(id), level).filter((each) => each !== undefined);
    let count = below.length;
    if (clustersPerSlot(level) > 1) {
      count = 0;
      for (const each of below) count += await this.#countNode(each, level - 1);
    }
    if (this.#counts.size < MOST_NODES) this.#counts.set(id, count);
    return count;
  }
}
