import { isImgstoreError } from '../../../errors/index.ts';
import { codecs, type GitObject, type ObjectId, objectId } from '../../../objects/index.ts';
import { applyDelta, type EntryHead, type Pack, PackOrder } from '../../../pack/index.ts';
import type { Store } from '../../store.ts';

/** Bases on the way to an object that are looked for outside of their pack. */
const MOST_STEPS = 4096;

/** Reads a damaged pack: where the base of a delta is damaged, another copy of it serves, wherever the store has one. */
export class SalvageReader {
  readonly order: PackOrder;
  readonly #store: Store;
  readonly #pack: Pack;

  constructor(store: Store, pack: Pack) {
    this.#store = store;
    this.#pack = pack;
    this.order = new PackOrder(pack);
  }

  /** The object whose entry is the i-th of the pack; undefined when it is lost. */
  read(i: number): GitObject | undefined {
    return this.#read(i, this.#pack.idx.id(this.order.positions[i]!), 0);
  }

  /** Position of a delta's base in the pack's index. */
  basePosition(i: number, head: EntryHead): number | undefined {
    if (head.kind === 'ref-delta') return this.#pack.idx.find(head.base!);
    if (head.kind !== 'ofs-delta') return undefined;
    const entry = this.order.at(this.order.offset(i) - head.distance!);
    return entry === undefined ? undefined : this.order.positions[entry];
  }

  /** The i-th entry as it lies in the pack. @throws ImgstoreError `DAMAGED`, `IO` */
  bytes(i: number): Buffer {
    const offset = this.order.offset(i);
    const bytes = Buffer.allocUnsafe(Math.max(0, this.order.end(i) - offset));
    this.#pack.readInto(bytes, offset);
    return bytes;
  }

  #read(i: number, id: ObjectId, steps: number): GitObject | undefined {
    const own = attempt(() => this.#pack.read(this.order.positions[i]!));
    if (own !== undefined) return own;
    const made = attempt(() => this.#resolve(i, steps));
    return made !== undefined && objectId(made.type, made.data) === id ? made : undefined;
  }

  #resolve(i: number, steps: number): GitObject | undefined {
    const head = this.#pack.head(this.order.offset(i));
    const base = this.basePosition(i, head);
    const baseId = base === undefined ? head.base : this.#pack.idx.id(base);
    if (baseId === undefined || steps > MOST_STEPS) return undefined;
    const object =
      this.#readElsewhere(baseId) ??
      (base === undefined
        ? undefined
        : this.#read(this.order.at(this.#pack.idx.offset(base))!, baseId, steps + 1));
    if (object === undefined) return undefined;
    const delta = codecs().deflate.inflate(this.bytes(i).subarray(head.length), head.size);
    return { type: object.type, data: applyDelta(object.data, delta) };
  }

  /** Not by way of the store's own look-ups, which would tell of every damaged copy that they pass. */
  #readElsewhere(id: ObjectId): GitObject | undefined {
    const { packs, loose } = this.#store.objects;
    for (const { pack, offset } of packs.findAll(id)) {
      const object = attempt(() => pack.readAt(offset, id));
      if (object !== undefined) return object;
    }
    return attempt(() => loose.read(id));
  }
}

/** Undefined for what is damaged or not there. */
export function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
}
