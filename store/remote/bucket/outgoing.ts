import { existsSync } from 'node:fs';
import { link, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../../../files/index.ts';
import { codecs, type ObjectId } from '../../../objects/index.ts';
import { PACK_TRAILER_BYTES, type Pack, PackWriter } from '../../../pack/index.ts';
import { newUpload, type PackKind, type RemotePack } from '../../../remote/index.ts';
import { brought } from '../../objects/brought.ts';
import type { ObjectMarks } from '../../objects/marks.ts';
import { each } from '../../ordered-map.ts';
import { copyEntries } from '../../pack/copy-entries.ts';
import { type Monitor, throwIfStopped } from '../../progress.ts';
import type { Store } from '../../store.ts';
import type { OutgoingMarks } from '../mark-missing.ts';

/**
 * A pack is closed at this many bytes: it is sent with one request, and sent again from its beginning when that fails; and a lazy clone, a repair or a fetch of a part read by range anyway. 100 TB are 1.5 million
 * of them.
 */
const MOST_PACK_BYTES = 64 * 2 ** 20;
/** So that the table of what is being written stays at some MB. */
const MOST_PACK_OBJECTS = 131_072;

/** A pack of the store of at most so many bytes is sent as it is when the bucket lacks all of it: copying its entries takes as long as sending them. */
const MOST_WHOLE_BYTES = 512 * 2 ** 20;

/** Of fewer objects than this share of a pack each is read by itself: to copy entries, all heads of the pack are looked at. */
const FEW = 1 / 32;

/** A pack to be sent, complete in a folder of the store. */
export interface OutgoingPack {
  readonly row: RemotePack;
  /** Path without ending; of `.pack` and `.idx`. */
  readonly stem: string;
}

/** Sends a pack on; it may be gone when that is done. */
export type SendPack = (pack: OutgoingPack) => Promise<void>;

/**
 * Writes marked objects of a store into new packs, in the order in which they lie, clusters apart from what leads to them. Deltas stay deltas where their bases come along. A pack of the store of which all is
 * marked goes as it is, and what leads to its clusters once more, apart.
 * @param folder where the packs are made; what is in it goes first
 * @param send called with each complete pack; no further one is begun before it returns
 * @throws ImgstoreError `NOT_FOUND`, `DAMAGED`, `INTERRUPTED`, `IO`
 */
export async function writeOutgoing(
  store: Store,
  marks: OutgoingMarks,
  folder: string,
  send: SendPack,
  monitor: Monitor,
): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await makeFolder('pack', folder, store.rules);
  const whole = await sendWhole(marks, folder, send);
  for (const kind of ['data', 'maps'] as const) {
    const series = await OutgoingSeries.begin(store, kind, folder, send);
    try {
      await series.addAll(marks[kind], kind === 'data' ? whole : new Set(), monitor);
      await series.finish();
    } finally {
      await series.discard();
    }
  }
}

/** Sends the packs of which all is marked. Links to them are what is sent, so that it stays when others pack the store. */
async function sendWhole(marks: OutgoingMarks, folder: string, send: SendPack): Promise<ReadonlySet<Pack>> {
  const maps = new Map([...marks.maps.packed()].map(({ pack, positions }) => [pack, positions.length]));
  const sent = new Set<Pack>();
  for (const { pack, positions } of marks.data.packed()) {
    const { idx, packBytes } = pack;
    const isWhole = positions.length + (maps.get(pack) ?? 0) === idx.count;
    if (!isWhole || packBytes > MOST_WHOLE_BYTES) continue;
    const checksum = idx.packChecksum().toString('hex');
    const stem = join(folder, `pack-${checksum}`);
    try {
      await link(`${pack.stem}.pack`, `${stem}.pack`);
      await link(`${pack.stem}.idx`, `${stem}.idx`);
      if (existsSync(`${pack.stem}.rev`)) await link(`${pack.stem}.rev`, `${stem}.rev`);
    } catch {
      // A file system without links: its entries are copied.
      for (const ending of ['pack', 'idx']) await rm(`${stem}.${ending}`, { force: true });
      continue;
    }
    const indexBytes = (await stat(`${stem}.idx`)).size;
    const row = {
      ...newUpload(checksum),
      kind: 'data',
      bytes: packBytes,
      indexBytes,
      objects: idx.count,
    } as const;
    await send({ row, stem });
    sent.add(pack);
  }
  return sent;
}

/** Packs of one kind that are written one after the other, and sent. */
export class OutgoingSeries {
  readonly #store: Store;
  readonly #kind: PackKind;
  readonly #folder: string;
  readonly #send: SendPack;
  #writer: PackWriter | undefined;

  private constructor(store: Store, kind: PackKind, folder: string, send: SendPack) {
    this.#store = store;
    this.#kind = kind;
    this.#folder = folder;
    this.#send = send;
  }

  /** @param folder where the packs are made @param send as in {@link writeOutgoing} */
  static async begin(store: Store, kind: PackKind, folder: string, send: SendPack): Promise<OutgoingSeries> {
    await makeFolder('pack', folder, store.rules);
    return new OutgoingSeries(store, kind, folder, send);
  }

  /** @param except packs that were sent as they are */
  async addAll(marks: ObjectMarks, except: ReadonlySet<Pack>, monitor: Monitor): Promise<void> {
    for (const { pack, positions } of marks.packed()) {
      if (except.has(pack)) continue;
      if (positions.length < pack.idx.count * FEW) {
        for (const position of positions) await this.#addWhole(pack.idx.id(position), monitor);
      } else {
        await this.copy(pack, positions, monitor);
      }
    }
    // Of a lazy clone, what was never read here comes from where it was cloned.
    const unpacked = [...marks.unpacked()].map((id) => ({ id }));
    for await (const { id } of brought(this.#store.objects, each(unpacked)))
      await this.#addWhole(id, monitor);
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
      row: { ...newUpload(pending.checksum), kind: this.#kind, bytes: packBytes, indexBytes, objects: count },
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
    this.#writer ??= await PackWriter.create(this.#folder, this.#store.rules, { lasting: false });
    return this.#writer;
  };

  /** Copies entries of a pack, by their positions. */
  async copy(pack: Pack, positions: Uint32Array, monitor: Monitor): Promise<void> {
    const isSent = new Uint8Array(pack.idx.count);
    for (const position of positions) isSent[position] = 1;
    const isKept = (position: number) => isSent[position] === 1;
    await copyEntries(pack, isKept, this.#next, this.#store.packCompression, monitor);
  }

  async #addWhole(id: ObjectId, monitor: Monitor): Promise<void> {
    throwIfStopped(monitor);
    const { type, data } = await this.#store.objects.readBrought(id);
    const deflated = codecs().deflate.deflate(data, this.#store.compression);
    const writer = await this.#next();
    await writer.add({ id, type, size: data.length, deflated });
  }
}
