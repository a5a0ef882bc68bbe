import type { GitObject, ObjectId } from '../../objects/index.ts';

/** What one reader asks for at once stays until he has read it: 64 clusters of 2 MiB, and some more. */
const MOST_BYTES = 160 * 2 ** 20;

/** Objects that are in memory because no file has them, or may lose them: the last ones. */
export class HeldObjects {
  /** Oldest first. */
  readonly #objects = new Map<ObjectId, GitObject>();
  #bytes = 0;

  get(id: ObjectId): GitObject | undefined {
    return this.#objects.get(id);
  }

  add(id: ObjectId, object: GitObject): void {
    this.#remove(id);
    this.#objects.set(id, object);
    this.#bytes += object.data.length;
    for (const oldest of this.#objects.keys()) {
      if (this.#bytes <= MOST_BYTES || oldest === id) break;
      this.#remove(oldest);
    }
  }

  #remove(id: ObjectId): void {
    this.#bytes -= this.#objects.get(id)?.data.length ?? 0;
    this.#objects.delete(id);
  }
}
