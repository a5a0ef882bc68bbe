import { crc32 } from 'node:zlib';
import { isImgstoreError } from '../../../errors/index.ts';
import { codecs, type GitObject, type ObjectId, objectId } from '../../../objects/index.ts';
import {
  applyDelta,
  type EntryHead,
  type Pack,
  PackOrder,
  PackWriter,
  type PendingPack,
} from '../../../pack/index.ts';
import type { Store } from '../../store.ts';

const NOT_WRITTEN = -1;

/** Bases on the way to an object that are looked for outside of their pack. */
const MOST_STEPS = 4096;

/** What could be taken out of a damaged pack. */
export interface SalvagedPack {
  /** Undefined when nothing could. */
  readonly pending: PendingPack | undefined;
  readonly objects: number;
}

/**
 * Writes a new pack of all that is whole in a damaged one. Entries go over as they are; a delta whose base is damaged is made whole by another copy of
 * the base, wherever the store has one.
 * @throws ImgstoreError `IO`
 */
export async function salvagePack(store: Store, pack: Pack): Promise<SalvagedPack> {
  const writer = await PackWriter.create(store.objects.packs.folder);
  try {
    await new Salvage(store, pack, writer).run();
    if (writer.count > 0) return { pending: await writer.finish(), objects: writer.count };
  } catch (error) {
    await writer.discard();
    throw error;
  }
  await writer.discard();
  return { pending: undefined, objects: 0 };
}

class Salvage {
  readonly #store: Store;
  readonly #pack: Pack;
  readonly #order: PackOrder;
  readonly #writer: PackWriter;
  /** By position: byte of the new pack. */
  readonly #written: Float64Array;

  constructor(store: Store, pack: Pack, writer: PackWriter) {
    this.#store = store;
    this.#pack = pack;
    this.#order = new PackOrder(pack);
    this.#writer = writer;
    this.#written = new Float64Array(pack.idx.count).fill(NOT_WRITTEN);
  }

  async run(): Promise<void> {
    for (const [i, position] of this.#order.positions.entries()) {
      const id = this.#pack.idx.id(position);
      const object = this.#read(i, id, 0);
      if (object === undefined) continue;
      const at = this.#writer.bytes;
      await this.#write(i, position, id, object);
      this.#written[position] = at;
    }
  }

  async #write(i: number, position: number, id: ObjectId, { type, data }: GitObject): Promise<void> {
    const size = data.length;
    const entry = this.#wholeEntry(i, position);
    if (entry?.head.kind === type) return this.#writer.add({ id, type, size, deflated: entry.stream });
    const base = entry === undefined ? undefined : this.#basePosition(i, entry.head);
    const place = base === undefined ? NOT_WRITTEN : this.#written[base]!;
    if (entry !== undefined && place !== NOT_WRITTEN)
      return this.#writer.addDelta({ id, size: entry.head.size, deflated: entry.stream, base: place });
    const deflated = codecs().deflate.deflate(data, this.#store.compression);
    return this.#writer.add({ id, type, size, deflated });
  }

  /** An entry's own bytes, when its CRC-32 says that all of them are whole. */
  #wholeEntry(
    i: number,
    position: number,
  ): { readonly head: EntryHead; readonly stream: Buffer } | undefined {
    return attempt(() => {
      const offset = this.#order.offset(i);
      const bytes = this.#bytes(i);
      if (crc32(bytes) !== this.#pack.idx.crc(position)) return undefined;
      const head = this.#pack.head(offset);
      return { head, stream: bytes.subarray(head.length) };
    });
  }

  /** An object by its own entry and, where that is damaged, bases from anywhere; undefined when it is lost. */
  #read(i: number, id: ObjectId, steps: number): GitObject | undefined {
    const position = this.#order.positions[i]!;
    const own = attempt(() => this.#pack.read(position));
    if (own !== undefined) return own;
    const made = attempt(() => this.#resolve(i, steps));
    return made !== undefined && objectId(made.type, made.data) === id ? made : undefined;
  }

  #resolve(i: number, steps: number): GitObject | undefined {
    const offset = this.#order.offset(i);
    const head = this.#pack.head(offset);
    const base = this.#basePosition(i, head);
    const baseId = base === undefined ? head.base : this.#pack.idx.id(base);
    if (baseId === undefined || steps > MOST_STEPS) return undefined;
    const object =
      attempt(() => this.#store.objects.read(baseId)) ??
      (base === undefined
        ? undefined
        : this.#read(this.#order.at(this.#pack.idx.offset(base))!, baseId, steps + 1));
    if (object === undefined) return undefined;
    const delta = codecs().deflate.inflate(this.#bytes(i).subarray(head.length), head.size);
    return { type: object.type, data: applyDelta(object.data, delta) };
  }

  #basePosition(i: number, head: EntryHead): number | undefined {
    if (head.kind === 'ref-delta') return this.#pack.idx.find(head.base!);
    if (head.kind !== 'ofs-delta') return undefined;
    const entry = this.#order.at(this.#order.offset(i) - head.distance!);
    return entry === undefined ? undefined : this.#order.positions[entry];
  }

  #bytes(i: number): Buffer {
    const offset = this.#order.offset(i);
    const bytes = Buffer.allocUnsafe(Math.max(0, this.#order.end(i) - offset));
    this.#pack.readInto(bytes, offset);
    return bytes;
  }
}

/** Undefined for what is damaged or not there. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
}
