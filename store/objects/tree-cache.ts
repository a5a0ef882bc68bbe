import type { ObjectId } from '../../objects/index.ts';

/** Bytes of trees that are kept: some 700 full nodes of cluster maps, or 10 GiB of a disk in clusters of 64 KiB. */
const MOST_BYTES = 8 * 1024 * 1024;

/** Trees by id, the least recently used given up first, bounded in bytes. */
export class TreeCache {
  readonly #trees = new Map<ObjectId, Uint8Array>();
  #bytes = 0;

  get(id: ObjectId): Uint8Array | undefined {
    const data = this.#trees.get(id);
    if (data !== undefined) {
      this.#trees.delete(id);
      this.#trees.set(id, data);
    }
    return data;
  }

  /** Keeps a tree and hands it back. */
  put(id: ObjectId, data: Uint8Array): Uint8Array {
    if (this.#trees.has(id)) return data;
    this.#trees.set(id, data);
    this.#bytes += data.length;
    for (const [oldest, old] of this.#trees) {
      if (this.#bytes <= MOST_BYTES) break;
      this.#trees.delete(oldest);
      this.#bytes -= old.length;
    }
    return data;
  }
}
