import type { ObjectId } from '../../../objects/index.ts';
import type { RemoteIndexes, RemotePack } from '../../../remote/index.ts';
import { setBits } from '../../objects/set-bits.ts';

/** Objects of a bucket that are marked: a bit for each object that its indexes have, and an id for each other one. */
export class RemoteMarks {
  readonly #indexes: RemoteIndexes;
  readonly #bits = new Map<string, { readonly pack: RemotePack; readonly bits: Uint8Array }>();
  readonly #others = new Set<ObjectId>();

  /** Marks for what the indexes are of now. */
  constructor(indexes: RemoteIndexes) {
    this.#indexes = indexes;
  }

  /** Marks an object. Returns true when it was not marked before. */
  mark(id: ObjectId): boolean {
    const place = this.#indexes.find(id);
    if (place === undefined) {
      const isNew = !this.#others.has(id);
      this.#others.add(id);
      return isNew;
    }
    const { pack, position } = place;
    let marks = this.#bits.get(pack.pack);
    if (marks === undefined) {
      marks = { pack, bits: new Uint8Array(Math.ceil(pack.objects / 8)) };
      this.#bits.set(pack.pack, marks);
    }
    const bit = 1 << (position & 7);
    const isNew = (marks.bits[position >> 3]! & bit) === 0;
    marks.bits[position >> 3]! |= bit;
    return isNew;
  }

  /** The positions of marked objects in each pack that has any, ascending. */
  *packed(): Generator<{ readonly pack: RemotePack; readonly positions: Uint32Array }> {
    for (const { pack, bits } of this.#bits.values()) yield { pack, positions: setBits(bits) };
  }

  /** The marked objects that the bucket does not have. */
  unknown(): ReadonlySet<ObjectId> {
    return this.#others;
  }
}
