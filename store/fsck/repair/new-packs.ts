import { codecs, type ObjectId, type ObjectType } from '../../../objects/index.ts';
import type { PackableObject } from '../../../pack/index.ts';
import { PackSeries } from '../../objects/pack-series.ts';
import type { Store } from '../../store.ts';

/**
 * Objects that a repair brings back, in packs: a pack is written also where the damaged copy is there under the same id, and look-ups end in packs first.
 */
export class NewPacks {
  readonly #store: Store;
  readonly #added = new Set<ObjectId>();
  readonly #packs: PackSeries;

  constructor(store: Store) {
    this.#store = store;
    this.#packs = new PackSeries(store.objects.packs.folder, store.rules);
  }

  /** Number of objects so far. */
  get count(): number {
    return this.#added.size;
  }

  has(id: ObjectId): boolean {
    return this.#added.has(id);
  }

  /** Adds an object, once. */
  async add(object: PackableObject): Promise<void> {
    if (this.#added.has(object.id)) return;
    this.#added.add(object.id);
    await this.#packs.add(object);
  }

  /** As {@link NewPacks.add}, from the data. */
  async addData(id: ObjectId, type: ObjectType, data: Uint8Array): Promise<void> {
    const deflated = codecs().deflate.deflate(data, this.#store.compression);
    await this.add({ id, type, size: data.length, deflated });
  }

  /** Makes all objects durable and visible. */
  async publish(): Promise<void> {
    await this.#packs.publish();
    this.#store.objects.packs.refresh();
  }

  /** Removes what was not published. Never throws. */
  async discard(): Promise<void> {
    await this.#packs.discard();
  }
}
