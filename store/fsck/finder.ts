import { isImgstoreError } from '../../errors/index.ts';
import type { GitObject, ObjectId } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { VerifiedObject } from '../workers/verify-jobs.ts';
import type { Inventory, InventoryEntry } from './inventory.ts';

/** Milliseconds between two looks at the folder of packs for what is not where it was. */
const REFRESH_MS = 500;

/**
 * Finds objects in the inventory and, what is not there or not whole there, in the store as it is now: other processes move objects between
 * loose files and packs at any time.
 */
export class ObjectFinder {
  readonly #inventory: Inventory;
  readonly #database: ObjectDatabase;
  /** What was found outside of the inventory; numbers go on behind its. */
  readonly #late = new Map<ObjectId, InventoryEntry>();
  /** What is nowhere. */
  readonly #lost = new Set<ObjectId>();
  #refreshed = Number.NEGATIVE_INFINITY;

  constructor(inventory: Inventory, database: ObjectDatabase) {
    this.#inventory = inventory;
    this.#database = database;
  }

  /** Undefined when the object is nowhere; without facts when all that is there of it is damaged. */
  find(id: ObjectId): InventoryEntry | undefined {
    const known = this.#inventory.find(id);
    if (known?.object !== undefined) return known;
    const late = this.#late.get(id);
    if (late !== undefined) return late;
    if (!this.#lost.has(id)) {
      const object = this.#readElsewhere(id);
      if (object !== undefined) {
        const number = known?.number ?? this.#inventory.count + this.#late.size;
        const { type, data } = object;
        const entry = { number, object: { type, size: data.length, isZero: false } satisfies VerifiedObject };
        this.#late.set(id, entry);
        return entry;
      }
      this.#lost.add(id);
    }
    return known;
  }

  /** Whether an object is nowhere here, and promised: it is at the remote of a lazy clone until somebody reads it. */
  isElsewhere(id: ObjectId): boolean {
    return this.#database.isPromised(id) && this.#inventory.find(id) === undefined;
  }

  /** Undefined when no copy can be read. */
  read(id: ObjectId): GitObject | undefined {
    try {
      const object = this.#inventory.read(id);
      if (object !== undefined) return object;
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
    }
    return this.#readElsewhere(id);
  }

  /** Forgets what was nowhere: to be asked once more, before it is reported. */
  lookAgain(): void {
    this.#lost.clear();
    this.#refreshed = Number.NEGATIVE_INFINITY;
  }

  #readElsewhere(id: ObjectId): GitObject | undefined {
    const now = performance.now();
    if (now - this.#refreshed > REFRESH_MS) {
      this.#database.packs.refresh();
      this.#refreshed = now;
    }
    try {
      if (!this.#database.has(id)) return undefined;
      return this.#database.read(id);
    } catch (error) {
      if (isImgstoreError(error)) return undefined;
      throw error;
    }
  }
}
