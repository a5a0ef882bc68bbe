import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { codecs, type GitObject, type ObjectId, type ObjectType, verifyObject } from '../../objects/index.ts';
import { applyDelta, type EntryHead, parseEntryHead } from '../../pack/index.ts';
import { packName, type RemoteIndexes, type RemotePack } from '../../remote/index.ts';
import type { PackRange, RemoteWindows } from './remote-windows.ts';

/** git's own bound on chains of deltas. */
const MOST_DEPTH = 4095;

/** A zlib stream of nothing: two bytes, an empty block, and the Adler-32. */
const LEAST_STREAM_BYTES = 8;

/** An object as a bucket has it: not checked against its id. */
export interface DeflatedObject {
  readonly type: ObjectType;
  /** Bytes of its data. */
  readonly size: number;
  /** The zlib stream of its data. */
  readonly deflated: Uint8Array;
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

  /** Where the entry of an object is; undefined when no pack has it. */
  place(id: ObjectId): PackRange | undefined {
    const place = this.#indexes.find(id);
    if (place === undefined) return undefined;
    const { pack, offset } = place;
    return { pack, offset, length: this.#indexes.entryEnd(pack, offset) - offset };
  }

  /** Asks for what several objects need, with few requests: to be read in the same turn. */
  prepare(ids: readonly ObjectId[]): void {
    this.#windows.prepare(ids.flatMap((id) => this.place(id) ?? []));
  }

  /**
   * An object that is whole in the bucket, as it is there: who reads it checks it. Undefined for a delta, and for what is not as it should be, about which {@link EntryReader.read} says more.
   * @throws ImgstoreError `NOT_FOUND` when no pack has it, or the pack has gone; `REMOTE_…`
   */
  async readDeflated(id: ObjectId): Promise<DeflatedObject | undefined> {
    const { pack, offset } = this.#placeOf(id);
    try {
      const { head, stream } = await this.#entry(pack, offset);
      if (head.kind.endsWith('-delta') || stream.length < LEAST_STREAM_BYTES) return undefined;
      return { type: head.kind as ObjectType, size: head.size, deflated: stream };
    } catch (error) {
      if (isImgstoreError(error, 'DAMAGED')) return undefined;
      throw error;
    }
  }

  /**
   * An object, checked.
   * @throws ImgstoreError `DAMAGED` when it is not the object, `NOT_FOUND` when no pack has it, or the pack has gone; `REMOTE_…`
   */
  async read(id: ObjectId): Promise<GitObject> {
    const place = this.#placeOf(id);
    const { pack, offset } = place;
    const where = `${this.#where}: ${packName(pack)}: entry at ${offset}`;
    try {
      const object = await this.#object(pack, offset, 0);
      verifyObject(id, object, where);
      return object;
    } catch (error) {
      if (!isImgstoreError(error, 'DAMAGED')) throw error;
      this.#windows.forget([place]);
      throw new ImgstoreError('DAMAGED', `${where}: object ${id}: ${error.message}`, { where, id }, error);
    }
  }

  #placeOf(id: ObjectId): PackRange {
    const place = this.place(id);
    if (place === undefined)
      throw new ImgstoreError('NOT_FOUND', `${this.#where}: has no object ${id}`, { id });
    return place;
  }

  async #object(pack: RemotePack, offset: number, depth: number): Promise<GitObject> {
    const { head, stream } = await this.#entry(pack, offset);
    const base = this.#baseOf(pack, head, offset);
    const inflated = codecs().deflate.inflate(stream, head.size);
    if (base === undefined) return { type: head.kind as ObjectType, data: inflated };
    if (depth === MOST_DEPTH) throw damaged('its chain of deltas never ends');
    const { type, data } = await this.#object(pack, base, depth + 1);
    return { type, data: applyDelta(data, inflated) };
  }

  async #entry(pack: RemotePack, offset: number): Promise<{ head: EntryHead; stream: Uint8Array }> {
    if (offset < 0 || offset >= pack.bytes) throw damaged(`its place ${offset} is outside of the pack`);
    const length = this.#indexes.entryEnd(pack, offset) - offset;
    const bytes = await this.#windows.read({ pack, offset, length });
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
