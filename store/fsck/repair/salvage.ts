import { crc32 } from 'node:zlib';
import { codecs, type GitObject, type ObjectId } from '../../../objects/index.ts';
import {
  type EntryHead,
  type Pack,
  type PackOrder,
  PackWriter,
  type PendingPack,
} from '../../../pack/index.ts';
import type { Store } from '../../store.ts';
import { attempt, SalvageReader } from './salvage-reader.ts';

const NOT_WRITTEN = -1;

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
  const writer = await PackWriter.create(store.objects.packs.folder, store.rules);
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
  readonly #reader: SalvageReader;
  readonly #order: PackOrder;
  readonly #writer: PackWriter;
  /** By position: byte of the new pack. */
  readonly #written: Float64Array;

  constructor(store: Store, pack: Pack, writer: PackWriter) {
    this.#store = store;
    this.#pack = pack;
    this.#reader = new SalvageReader(store, pack);
    this.#order = this.#reader.order;
    this.#writer = writer;
    this.#written = new Float64Array(pack.idx.count).fill(NOT_WRITTEN);
  }

  async run(): Promise<void> {
    for (const [i, position] of this.#order.positions.entries()) {
      const id = this.#pack.idx.id(position);
      const object = this.#reader.read(i);
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
    const base = entry === undefined ? undefined : this.#reader.basePosition(i, entry.head);
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
      const bytes = this.#reader.bytes(i);
      if (crc32(bytes) !== this.#pack.idx.crc(position)) return undefined;
      const head = this.#pack.head(offset);
      return { head, stream: bytes.subarray(head.length) };
    });
  }
}
