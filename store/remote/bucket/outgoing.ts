import { mkdir, rm, stat } from 'node:fs/promises';
import { codecs, type ObjectId } from '../../../objects/index.ts';
import { PACK_TRAILER_BYTES, type Pack, PackWriter } from '../../../pack/index.ts';
import type { PackKind, RemotePack } from '../../../remote/index.ts';
import type { ObjectMarks } from '../../objects/marks.ts';
import { copyEntries } from '../../pack/copy-entries.ts';
import { type Monitor, throwIfStopped } from '../../progress.ts';
import type { Store } from '../../store.ts';

/**
 * A pack is closed at this many bytes: it is sent with one request, and sent again from its beginning when that fails; and a lazy clone, a repair or a fetch of a part read by range anyway. 100 TB are 800,000
 * of them.
 */
const MOST_PACK_BYTES = 128 * 2 ** 20;
/** So that the table of what is being written stays at some MB. */
const MOST_PACK_OBJECTS = 131_072;

/** Of fewer objects than this share of a pack each is read by itself: to copy entries, all heads of the pack are looked at. */
const FEW = 1 / 32;

/** A pack to be sent, complete in a folder of the store. */
export interface OutgoingPack {
  readonly row: RemotePack;
  /** Path without ending; of `.pack` and `.idx`. */
  readonly stem: string;
}

/**
 * Writes marked objects of a store into new packs, in the order in which they lie, clusters apart from what leads to them. Deltas stay deltas where their bases come along.
 * @param folder where the packs are made; what is in it goes first
 * @param send called with each complete pack; no further one is begun before it returns
 * @throws ImgstoreError `NOT_FOUND`, `DAMAGED`, `INTERRUPTED`, `IO`
 */
export async function writeOutgoing(
  store: Store,
  marks: Readonly<Record<PackKind, ObjectMarks>>,
  folder: string,
  send: (pack: OutgoingPack) => Promise<void>,
  monitor: Monitor,
): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for (const kind of ['data', 'maps'] as const) {
    const series = new OutgoingSeries(store, kind, folder, send);
    try {
      await series.addAll(marks[kind], monitor);
      await series.finish();
    } finally {
      await series.discard();
    }
  }
}

class OutgoingSeries {
  readonly #store: Store;
  readonly #kind: PackKind;
  readonly #folder: string;
  readonly #send: (pack: OutgoingPack) => Promise<void>;
  #writer: PackWriter | undefined;

  constructor(store: Store, kind: PackKind, folder: string, send: (pack: OutgoingPack) => Promise<void>) {
    this.#store = store;
    this.#kind = kind;
    this.#folder = folder;
    this.#send = send;
  }

  async addAll(marks: ObjectMarks, monitor: Monitor): Promise<void> {
    for (const { pack, positions } of marks.packed()) {
      if (positions.length < pack.idx.count * FEW) {
        for (const position of positions) await this.#addWhole(pack.idx.id(position), monitor);
      } else {
        await this.#copy(pack, positions, monitor);
      }
    }
    for (const id of marks.unpacked()) await this.#addWhole(id, monitor);
  }

  /** Completes the last pack, unless it is empty. */
  async finish(): Promise<void> {
    const writer = this.#writer;
    if (writer === undefined) return;
    const { count, bytes } = writer;
    const pending = await writer.finish();
    this.#writer = undefined;
    const stem = await pending.publish();
    const indexBytes = (await stat(`${stem}.idx`)).size;
    const packBytes = bytes + PACK_TRAILER_BYTES;
    await this.#send({
      row: { pack: pending.checksum, kind: this.#kind, bytes: packBytes, indexBytes, objects: count },
      stem,
    });
  }

  /** Removes what was begun. Never throws. */
  async discard(): Promise<void> {
    await this.#writer?.discard();
  }

  readonly #next = async (): Promise<PackWriter> => {
    const { count = 0, bytes = 0 } = this.#writer ?? {};
    if (count >= MOST_PACK_OBJECTS || bytes >= MOST_PACK_BYTES) await this.finish();
    this.#writer ??= await PackWriter.create(this.#folder, this.#store.rules);
    return this.#writer;
  };

  async #copy(pack: Pack, positions: Uint32Array, monitor: Monitor): Promise<void> {
    const isSent = new Uint8Array(pack.idx.count);
    for (const position of positions) isSent[position] = 1;
    const isKept = (position: number) => isSent[position] === 1;
    await copyEntries(pack, isKept, this.#next, this.#store.packCompression, monitor);
  }

  async #addWhole(id: ObjectId, monitor: Monitor): Promise<void> {
    throwIfStopped(monitor);
    const { type, data } = this.#store.objects.read(id);
    const deflated = codecs().deflate.deflate(data, this.#store.compression);
    const writer = await this.#next();
    await writer.add({ id, type, size: data.length, deflated });
  }
}
