import { clustersPerSlot, type ObjectId, type ReadTree, readNode } from '../../objects/index.ts';
import { inDisk } from './map-errors.ts';
import type { VersionDisk } from './version.ts';

/** Nodes whose counts are kept: counting the versions of a disk costs one read of each node that differs between them. */
const MOST_NODES = 100_000;

/** Counts the stored clusters of maps, each shared node once. */
export class ClusterCounter {
  readonly #read: ReadTree;
  readonly #counts = new Map<ObjectId, number>();

  constructor(read: ReadTree) {
    this.#read = read;
  }

  /** Number of clusters of a disk that are not zeros. @throws ImgstoreError `DAMAGED`, `NOT_FOUND` naming version and disk */
  async count(disk: VersionDisk): Promise<number> {
    const { id, levels } = disk.map;
    try {
      return id === undefined ? 0 : await this.#countNode(id, levels);
    } catch (error) {
      throw inDisk(disk, error);
    }
  }

  async #countNode(id: ObjectId, level: number): Promise<number> {
    const known = this.#counts.get(id);
    if (known !== undefined) return known;
    const below = (await readNode(this.#read, id, level)).filter((each) => each !== undefined);
    let count = below.length;
    if (clustersPerSlot(level) > 1) {
      count = 0;
      for (const each of below) count += await this.#countNode(each, level - 1);
    }
    if (this.#counts.size < MOST_NODES) this.#counts.set(id, count);
    return count;
  }
}
