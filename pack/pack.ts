import { statSync } from 'node:fs';
import { ImgstoreError } from '../errors/index.ts';
import {
  codecs,
  type GitObject,
  ID_BYTES,
  MOST_OBJECT_BYTES,
  mostInflated,
  type ObjectHeader,
  type ObjectType,
  PREFIX_STREAM_BYTES,
  verifyObject,
} from '../objects/index.ts';
import { BaseCache } from './base-cache.ts';
import { FileBytes } from './bytes.ts';
import { applyDelta, deltaSizes } from './delta/apply.ts';
import { type EntryHead, MOST_ENTRY_HEAD_BYTES, parseEntryHead } from './entry.ts';
import { PACK_HEADER_BYTES, PACK_TRAILER_BYTES, parsePackHeader } from './header.ts';
import { Idx } from './idx/idx.ts';

/** git's own limit (`MAX_DEPTH` of pack-objects). */
const MOST_DEPTH = 4095;

/** Where a whole object's zlib stream lies in a pack, for a reader in another thread. */
export interface PackedStream {
  readonly fd: number;
  /** Byte at which the stream begins. */
  readonly offset: number;
  /** Bytes from there that surely hold all of it. */
  readonly length: number;
  readonly type: ObjectType;
  /** Bytes that it inflates to. */
  readonly size: number;
}

/** An entry with its place. */
interface Entry extends EntryHead {
  readonly offset: number;
}

/** A pack and its index, open for reading. Every object that is handed out was checked against its id. */
export class Pack {
  /** Path of the pack without `.pack`. */
  readonly stem: string;
  readonly idx: Idx;
  readonly #file: FileBytes;
  readonly #idxFile: FileBytes;
  readonly #bases = new BaseCache();
  readonly #head = Buffer.alloc(MOST_ENTRY_HEAD_BYTES);

  /**
   * Opens `<stem>.pack` and `<stem>.idx`.
   * @throws ImgstoreError `DAMAGED` when they do not fit each other, `NOT_FOUND`, `IO`
   */
  constructor(stem: string) {
    this.stem = stem;
    this.#idxFile = new FileBytes(`${stem}.idx`);
    try {
      this.idx = new Idx(this.#idxFile);
      this.#file = new FileBytes(`${stem}.pack`);
    } catch (error) {
      this.#idxFile.close();
      throw error;
    }
    try {
      this.#validate();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The pack's path. */
  get path(): string {
    return this.#file.name;
  }

  /** Bytes of pack, index and, where there is one, reverse index. */
  get fileBytes(): number {
    const rev = statSync(`${this.stem}.rev`, { throwIfNoEntry: false })?.size ?? 0;
    return this.#file.size + this.#idxFile.size + rev;
  }

  /** The object at a position of the index, deltas resolved. @throws ImgstoreError `DAMAGED` naming pack and offset. */
  read(position: number): GitObject {
    const id = this.idx.id(position);
    const offset = this.idx.offset(position);
    return this.#locate(offset, () => {
      const object = this.#resolve(offset);
      verifyObject(id, object, 'the entry');
      return object;
    });
  }

  /** An object's kind and size without inflating it whole. */
  header(position: number): ObjectHeader {
    const offset = this.idx.offset(position);
    return this.#locate(offset, () => {
      let entry = this.#entry(offset);
      let size: number | undefined;
      for (const step of this.#stepsToBase(entry)) {
        size ??= step.kind.endsWith('delta') ? this.#deltaResultSize(step) : step.size;
        entry = step;
      }
      return { type: entry.kind as ObjectType, size: size ?? entry.size };
    });
  }

  /** Where the object's bytes lie, if it is stored whole; undefined when it is a delta. */
  wholeStream(position: number): PackedStream | undefined {
    const offset = this.idx.offset(position);
    return this.#locate(offset, () => {
      const entry = this.#entry(offset);
      if (entry.kind === 'ofs-delta' || entry.kind === 'ref-delta') return undefined;
      const start = offset + entry.length;
      return {
        fd: this.#file.fd,
        offset: start,
        length: this.#streamBound(start, entry.size),
        type: entry.kind,
        size: entry.size,
      };
    });
  }

  close(): void {
    this.#file?.close();
    this.#idxFile.close();
  }

  #validate(): void {
    try {
      const entries = parsePackHeader(this.#file.bytes(0, PACK_HEADER_BYTES));
      if (entries !== this.idx.count) throw damaged(`holds ${entries} entries, its index ${this.idx.count}`);
      const checksum = this.#file.bytes(this.#file.size - PACK_TRAILER_BYTES, ID_BYTES);
      if (!this.idx.packChecksum().equals(checksum))
        throw damaged('its checksum is not the one in its index');
    } catch (error) {
      throw prefixed(error, this.path);
    }
  }

  /** Follows deltas down to a whole object, then applies them on the way up; no recursion, chains may be long. */
  #resolve(offset: number): GitObject {
    const deltas: Entry[] = [];
    let type: ObjectType | undefined;
    let data: Uint8Array | undefined;
    for (const step of this.#stepsToBase(this.#entry(offset))) {
      const cached = this.#bases.get(step.offset);
      if (cached !== undefined) {
        ({ type, data } = cached);
        break;
      }
      if (step.kind === 'ofs-delta' || step.kind === 'ref-delta') {
        deltas.push(step);
      } else {
        type = step.kind;
        data = this.#inflate(step);
        if (deltas.length > 0) this.#bases.put(step.offset, { type, data });
      }
    }
    for (const delta of deltas.reverse()) {
      data = applyDelta(data!, this.#inflate(delta));
      if (delta.offset !== offset) this.#bases.put(delta.offset, { type: type!, data });
    }
    return { type: type!, data: data! };
  }

  /** The entry, its base, that one's base, …, down to a whole object. @throws ImgstoreError `DAMAGED` for a circle. */
  *#stepsToBase(first: Entry): Generator<Entry> {
    const seen = new Set<number>();
    for (let entry = first; ; ) {
      if (seen.has(entry.offset) || seen.size > MOST_DEPTH) throw damaged('its chain of deltas never ends');
      seen.add(entry.offset);
      yield entry;
      if (entry.kind === 'ofs-delta') {
        entry = this.#entry(entry.offset - entry.distance!);
      } else if (entry.kind === 'ref-delta') {
        const position = this.idx.find(entry.base!);
        if (position === undefined) throw damaged(`its base ${entry.base} is not in the pack`);
        entry = this.#entry(this.idx.offset(position));
      } else {
        return;
      }
    }
  }

  #entry(offset: number): Entry {
    const end = this.#file.size - PACK_TRAILER_BYTES;
    if (offset < PACK_HEADER_BYTES || offset >= end)
      throw damaged(`its place ${offset} is outside of the pack`);
    // Read past the page cache: entries of clusters lie a page apart, and all but these bytes of each page would be read in vain.
    const head = this.#head.subarray(0, Math.min(MOST_ENTRY_HEAD_BYTES, end - offset));
    this.#file.readInto(head, offset);
    return { ...parseEntryHead(head), offset };
  }

  #inflate(entry: Entry): Uint8Array {
    const start = entry.offset + entry.length;
    const stream = Buffer.allocUnsafe(this.#streamBound(start, entry.size));
    this.#file.readInto(stream, start);
    return codecs().deflate.inflate(stream, entry.size);
  }

  /**
   * Bytes from `start` that surely hold a zlib stream of `size` bytes: the worst that an encoder does is to spend 9 bits on each byte
   * (the fixed codes of RFC 1951), and a stream never reaches past the pack.
   */
  #streamBound(start: number, size: number): number {
    const room = this.#file.size - PACK_TRAILER_BYTES - start;
    if (room <= 0 || size > Math.min(mostInflated(room), MOST_OBJECT_BYTES))
      throw damaged(`it says that it holds ${size} bytes`);
    return Math.min(room, size + Math.ceil(size / 8) + 64);
  }

  #deltaResultSize(entry: Entry): number {
    const start = entry.offset + entry.length;
    const length = Math.min(PREFIX_STREAM_BYTES, this.#file.size - PACK_TRAILER_BYTES - start);
    return deltaSizes(codecs().deflate.inflatePrefix(this.#file.bytes(start, length))).result;
  }

  #locate<T>(offset: number, read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw prefixed(error, `${this.path}: entry at ${offset}`);
    }
  }
}

function damaged(reason: string): ImgstoreError {
  return new ImgstoreError('DAMAGED', reason, { reason });
}

function prefixed(error: unknown, where: string): unknown {
  if (!(error instanceof ImgstoreError) || error.message.startsWith(where)) return error;
  return new ImgstoreError(error.code, `${where}: ${error.message}`, { ...error.data, where }, error);
}
