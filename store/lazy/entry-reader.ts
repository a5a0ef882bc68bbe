import { ImgstoreError } from '../../errors/index.ts';
import { codecs, type ObjectId, type ObjectType, verifyObject } from '../../objects/index.ts';
import { applyDelta, type EntryHead, parseEntryHead } from '../../pack/index.ts';
import { packName, type RemoteIndexes, type RemotePack } from '../../remote/index.ts';
import type { RemoteWindows } from './remote-windows.ts';

/** git's own bound on chains of deltas. */
const MOST_DEPTH = 4095;

/** An object that was read from a bucket and checked against its id. */
export interface ReadObject {
  readonly id: ObjectId;
  readonly type: ObjectType;
  readonly data: Uint8Array;
  /** The zlib stream of the data, as the bucket has it; undefined for one that is a delta there. */
  readonly deflated: Uint8Array | undefined;
}

/** Reads single objects out of a bucket's packs. */
export class EntryReader {
  readonly #where: string;
  readonly #indexes: RemoteIndexes;
  readonly #windows: RemoteWindows;

  /** @param where the bucket, for messages */
  constructor(where: string, indexes: RemoteIndexes, windows: RemoteWindows) {
    this.#where = where;
    this.#indexes = indexes;
    this.#windows = windows;
  }

  /** @throws ImgstoreError `DAMAGED` when it is not the object, `NOT_FOUND` when no pack has it, or the pack has gone; `REMOTE_…` */
  async read(id: ObjectId): Promise<ReadObject> {
    const place = this.#indexes.find(id);
    if (place === undefined)
      throw new ImgstoreError('NOT_FOUND', `${this.#where}: has no object ${id}`, { id });
    const { pack, offset } = place;
    const where = `${this.#where}: ${packName(pack)}: entry at ${offset}`;
    try {
      const object = await this.#object(pack, offset, 0);
      verifyObject(id, object, where);
      return { id, ...object };
    } catch (error) {
      if (!(error instanceof ImgstoreError) || error.code !== 'DAMAGED') throw error;
      throw new ImgstoreError('DAMAGED', `${where}: object ${id}: ${error.message}`, { where, id }, error);
    }
  }

  async #object(pack: RemotePack, offset: number, depth: number): Promise<Omit<ReadObject, 'id'>> {
    const { head, stream } = await this.#entry(pack, offset);
    const base = this.#baseOf(pack, head, offset);
    const inflated = codecs().deflate.inflate(stream, head.size);
    if (base === undefined) return { type: head.kind as ObjectType, data: inflated, deflated: stream };
    if (depth === MOST_DEPTH) throw damaged('its chain of deltas never ends');
    const { type, data } = await this.#object(pack, base, depth + 1);
    return { type, data: applyDelta(data, inflated), deflated: undefined };
  }

  async #entry(pack: RemotePack, offset: number): Promise<{ head: EntryHead; stream: Uint8Array }> {
    if (offset < 0 || offset >= pack.bytes) throw damaged(`its place ${offset} is outside of the pack`);
    const length = this.#indexes.entryEnd(pack, offset) - offset;
    const bytes = await this.#windows.read(pack, offset, length);
    const head = parseEntryHead(bytes);
    return { head, stream: bytes.subarray(head.length) };
  }

  #baseOf(pack: RemotePack, { kind, distance, base }: EntryHead, offset: number): number | undefined {
    if (kind === 'ofs-delta') return offset - distance!;
    if (kind !== 'ref-delta') return undefined;
    const { idx } = this.#indexes.of(pack);
    const position = idx.find(base!);
    if (position === undefined) throw damaged(`its base ${base} is not in the pack`);
    return idx.offset(position);
  }
}

function damaged(reason: string): ImgstoreError {
  return new ImgstoreError('DAMAGED', reason, { reason });
}
