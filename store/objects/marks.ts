import type { ObjectId } from '../../objects/index.ts';
import type { Pack } from '../../pack/index.ts';
import type { ObjectDatabase } from './database.ts';

/** Objects that are marked, for walks that meet the same ones again: a bit for each object in a pack, and an id for each other one. */
export class ObjectMarks {
  /** In one order for good: an object that is in several packs has its mark in the first. */
  readonly #packs: readonly { readonly pack: Pack; readonly bits: Uint8Array }[];
  /** Loose ones, and what has come since. */
  readonly #others = new Set<ObjectId>();
  #count = 0;

  /** Marks for what is in the packs now; packs that come later are no harm. */
  constructor({ packs }: ObjectDatabase) {
    this.#packs = [...packs.packs()]
      // The largest first: most look-ups end there.
      .sort((a, b) => b.idx.count - a.idx.count || (a.stem < b.stem ? -1 : 1))
      .map((pack) => ({ pack, bits: new Uint8Array(Math.ceil(pack.idx.count / 8)) }));
  }

  /** Objects that are marked. */
  get count(): number {
    return this.#count;
  }

  /** Marks an object, whether it is in the store or not. Returns true when it was not marked before. */
  mark(id: ObjectId): boolean {
    const isNew = this.#mark(id);
    if (isNew) this.#count++;
    return isNew;
  }

  has(id: ObjectId): boolean {
    for (const { pack, bits } of this.#packs) {
      const position = pack.idx.find(id);
      if (position !== undefined) return (bits[position >> 3]! & (1 << (position & 7))) !== 0;
    }
    return this.#others.has(id);
  }

  #mark(id: ObjectId): boolean {
    for (const { pack, bits } of this.#packs) {
      const position = pack.idx.find(id);
      if (position === undefined) continue;
      const bit = 1 << (position & 7);
      const isNew = (bits[position >> 3]! & bit) === 0;
      bits[position >> 3]! |= bit;
      return isNew;
    }
    if (this.#others.has(id)) return false;
    this.#others.add(id);
    return true;
  }
}
