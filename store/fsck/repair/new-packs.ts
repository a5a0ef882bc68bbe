import { codecs, type ObjectId, type ObjectType } from '../../../objects/index.ts';
import { type PackableObject, PackWriter, type PendingPack } from '../../../pack/index.ts';
import type { Store } from '../../store.ts';

/** A pack is closed and the next begun at either bound, as in a commit. */
const MOST_PACK_OBJECTS = 262_144;
const MOST_PACK_BYTES = 4 * 2 ** 30;

/**
 * Objects that a repair brings back, in packs: a pack is written also where the damaged copy is there under the same id, and look-ups end in packs first.
 */
export class NewPacks {
  readonly #store: Store;
  readonly #added = new Set<ObjectId>();
  readonly #finished: PendingPack[] = [];
  #writer: PackWriter | undefined;

  constructor(store: Store) {
    this.#store = store;
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
    this.#writer ??= await PackWriter.create(this.#store.objects.packs.folder, this.#store.rules);
    await this.#writer.add(object);
    if (this.#writer.count >= MOST_PACK_OBJECTS || this.#writer.bytes >= MOST_PACK_BYTES)
      await this.#finish();
  }

  /** As {@link NewPacks.add}, from the data. */
  async addData(id: ObjectId, type: ObjectType, data: Uint8Array): Promise<void> {
    const deflated = codecs().deflate.deflate(data, this.#store.compression);
    await this.add({ id, type, size: data.length, deflated });
  }

  /** Makes all objects durable and visible. */
  async publish(): Promise<void> {
    await this.#finish();
    for (const pack of this.#finished) await pack.publish();
    this.#store.objects.packs.refresh();
  }

  /** Removes what was not published. Never throws. */
  async discard(): Promise<void> {
    await this.#writer?.discard();
    for (const pack of this.#finished) await pack.discard();
  }

  async #finish(): Promise<void> {
    if (this.#writer === undefined) return;
    this.#finished.push(await this.#writer.finish());
    this.#writer = undefined;
  }
}
