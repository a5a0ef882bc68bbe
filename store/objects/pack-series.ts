import type { FileRules } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { type PackableObject, PackWriter, type PendingPack } from '../../pack/index.ts';

/**
 * A pack is closed and the next begun at either bound, so that the table of a pack being written stays small (16 MB) whatever comes. 4 GiB keeps most offsets in the index's
 * short table.
 */
const MOST_PACK_OBJECTS = 262_144;
const MOST_PACK_BYTES = 4 * 2 ** 30;

/** New packs of a bounded size, one after the other, that become visible together. */
export class PackSeries {
  readonly #folder: string;
  readonly #rules: FileRules;
  readonly #finished: PendingPack[] = [];
  #writer: PackWriter | undefined;

  /** @param folder the store's `objects/pack` */
  constructor(folder: string, rules: FileRules) {
    this.#folder = folder;
    this.#rules = rules;
  }

  /** Whether anything was added. */
  get isBegun(): boolean {
    return this.#writer !== undefined || this.#finished.length > 0;
  }

  /** Whether one of the packs that are closed has an object. */
  has(id: ObjectId): boolean {
    return this.#finished.some((pack) => pack.has(id));
  }

  /** Adds an object; its bytes are copied. Returns the pack that is closed with it, if one is. @throws ImgstoreError `IO` */
  async add(object: PackableObject): Promise<PendingPack | undefined> {
    this.#writer ??= await PackWriter.create(this.#folder, this.#rules);
    await this.#writer.add(object);
    if (this.#writer.count < MOST_PACK_OBJECTS && this.#writer.bytes < MOST_PACK_BYTES) return undefined;
    return this.#finish(this.#writer);
  }

  /** Makes all packs durable and visible. @returns bytes of the packs with their indexes @throws ImgstoreError `IO`; call {@link PackSeries.discard} then. */
  async publish(): Promise<number> {
    if (this.#writer !== undefined) await this.#finish(this.#writer);
    for (const pack of this.#finished) await pack.publish();
    return this.#finished.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  }

  /** Removes what was not published. Never throws. */
  async discard(): Promise<void> {
    await this.#writer?.discard();
    for (const pack of this.#finished) await pack.discard();
  }

  async #finish(writer: PackWriter): Promise<PendingPack> {
    const pack = await writer.finish();
    this.#writer = undefined;
    this.#finished.push(pack);
    return pack;
  }
}
