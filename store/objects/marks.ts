import type { ObjectId } from '../../objects/index.ts';
import type { Pack } from '../../pack/index.ts';
import type { ObjectDatabase } from './database.ts';
import { setBits } from './set-bits.ts';

/** Where an object is in the packs of some marks. */
export interface MarkPlace {
  /** Which of them. */
  readonly number: number;
  readonly pack: Pack;
  /** In the pack's index. */
  readonly position: number;
}

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

  /** Where an object's mark is kept: always the same place, in all marks of the same packs; undefined for one that is in none of them. */
  place(id: ObjectId): MarkPlace | undefined {
    for (const [number, { pack }] of this.#packs.entries()) {
      const position = pack.idx.find(id);
      if (position !== undefined) return { number, pack, position };
    }
    return undefined;
  }

  /**
   * Marks an object, whether it is in the store or not. Returns true when it was not marked before.
   * @param known where it is in other marks, if it was looked for already: of no use when packs have come or gone between the two
   */
  mark(id: ObjectId, known?: MarkPlace): boolean {
    const isOurs = known !== undefined && this.#packs[known.number]?.pack === known.pack;
    const place = isOurs ? known : this.place(id);
    const isNew = place === undefined ? !this.#others.has(id) : !this.#isSet(place);
    if (!isNew) return false;
    this.#count++;
    if (place === undefined) this.#others.add(id);
    else this.#packs[place.number]!.bits[place.position >> 3]! |= 1 << (place.position & 7);
    return true;
  }

  has(id: ObjectId): boolean {
    const place = this.place(id);
    return place === undefined ? this.#others.has(id) : this.#isSet(place);
  }

  /** The positions of marked objects in each pack that has any, ascending. */
  *packed(): Generator<{ readonly pack: Pack; readonly positions: Uint32Array }> {
    for (const { pack, bits } of this.#packs) {
      const positions = setBits(bits);
      if (positions.length > 0) yield { pack, positions };
    }
  }

  /** The marked objects that are in no pack. */
  unpacked(): Iterable<ObjectId> {
    return this.#others;
  }

  #isSet({ number, position }: MarkPlace): boolean {
    return (this.#packs[number]!.bits[position >> 3]! & (1 << (position & 7))) !== 0;
  }
}
