import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { counted, fromSystem, ImgstoreError } from '../errors/index.ts';
import {
  codecs,
  type GitObject,
  ID_BYTES,
  type ObjectHeader,
  type ObjectId,
  type ObjectType,
  PREFIX_STREAM_BYTES,
  verifyObject,
} from '../objects/index.ts';
import { FileBytes } from './bytes.ts';
import { type Entry, entryAt, type PackEntries, stepsToBase, streamsAt } from './chain.ts';
import { deltaSizes } from './delta/apply.ts';
import { type EntryHead, MOST_ENTRY_HEAD_BYTES, parseEntryHead } from './entry.ts';
import { EntryEnds } from './entry-ends.ts';
import { PACK_HEADER_BYTES, PACK_TRAILER_BYTES, parsePackHeader } from './header.ts';
import { Idx } from './idx/idx.ts';
import type { PackedEntry } from './packed-blob.ts';
import { type PackedStreams, readStreams } from './streams.ts';

/** An index with what it is read from. */
interface OpenIndex {
  readonly idx: Idx;
  readonly file: { readonly size: number; close(): void };
}

/** Numbers open packs, for caches: descriptors come again. */
let nextPack = 0;

/** A number for a pack that is read without being opened as a {@link Pack}. */
export function newPackNumber(): number {
  return nextPack++;
}

/** When a pack's index is opened: at once, or when something is looked up in it. */
type IndexOpening = 'at once' | 'on demand';

/** Entries whose places are asked for from which on it is worth knowing where all of them end. */
const MANY_ENTRIES = 256;

/** A pack and its index, open for reading. Every object that is handed out was checked against its id. */
export class Pack {
  /** Path of the pack without `.pack`. */
  readonly stem: string;
  readonly #file: FileBytes;
  readonly #entries: number;
  #index: OpenIndex | undefined;
  readonly #number = newPackNumber();
  readonly #head = Buffer.alloc(MOST_ENTRY_HEAD_BYTES);
  #entriesAsked = 0;
  #ends: EntryEnds | undefined;

  /**
   * Opens `<stem>.pack` and `<stem>.idx`. On demand, the index is left alone as long as places come from elsewhere: that the pack is whole
   * shows by its checksum, which git names packs by; for one of another name the index must say.
   * @param index an index that is open already is taken as it is, and the pack's frame is not looked at: so entries of a damaged pack are read
   * @throws ImgstoreError `DAMAGED` when they do not fit each other, `NOT_FOUND`, `IO`
   */
  constructor(stem: string, index: IndexOpening | OpenIndex = 'at once') {
    this.stem = stem;
    this.#file = new FileBytes(`${stem}.pack`);
    if (typeof index === 'object') {
      this.#index = index;
      this.#entries = index.idx.count;
      return;
    }
    try {
      this.#entries = this.#locatedIn(this.path, () =>
        parsePackHeader(this.#file.bytes(0, PACK_HEADER_BYTES)),
      );
      if (index === 'at once' || !this.#hasChecksumOfName()) this.openIndex();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Heads are read past the page cache: entries of clusters lie a page apart, and all but these bytes of each page would be read in vain. */
  get #contents(): PackEntries {
    const end = this.entriesEnd;
    return {
      pack: this.#number,
      fd: this.#file.fd,
      end,
      headAt: (offset) => {
        const head = this.#head.subarray(0, Math.min(MOST_ENTRY_HEAD_BYTES, end - offset));
        this.#file.readInto(head, offset);
        return parseEntryHead(head);
      },
      find: (id) => {
        const position = this.idx.find(id);
        return position === undefined ? undefined : this.idx.offset(position);
      },
    };
  }

  /** The pack's index. @throws ImgstoreError as {@link Pack.openIndex} when it was left to be opened on demand. */
  get idx(): Idx {
    return this.openIndex().idx;
  }

  /** Opens the index, unless it is open. @throws ImgstoreError `DAMAGED` when it does not fit the pack, `NOT_FOUND`, `IO`. */
  openIndex(): OpenIndex {
    this.#index ??= this.#openIndex();
    return this.#index;
  }

  /** The pack's path. */
  get path(): string {
    return this.#file.name;
  }

  /** Bytes of pack, index and, where there is one, reverse index. */
  get fileBytes(): number {
    const rev = statSync(`${this.stem}.rev`, { throwIfNoEntry: false })?.size ?? 0;
    return this.#file.size + this.openIndex().file.size + rev;
  }

  /** The object at a position of the index, deltas resolved. @throws ImgstoreError `DAMAGED` naming pack and offset. */
  read(position: number): GitObject {
    return this.readAt(this.idx.offset(position), this.idx.id(position));
  }

  /** As {@link Pack.read}, of the object that is to be at an offset of the pack. */
  readAt(offset: number, id: ObjectId): GitObject {
    return this.#locate(offset, () => {
      const object = this.#read(streamsAt(this.#contents, offset));
      verifyObject(id, object, 'the entry');
      return object;
    });
  }

  /** An object's kind and size without inflating it whole. */
  header(position: number): ObjectHeader {
    return this.headerAt(this.idx.offset(position));
  }

  /** As {@link Pack.header}, by offset in the pack. */
  headerAt(offset: number): ObjectHeader {
    return this.#locate(offset, () => {
      const entry = entryAt(this.#contents, offset);
      let { kind } = entry;
      for (const step of stepsToBase(this.#contents, entry)) ({ kind } = step);
      return { type: kind as ObjectType, size: this.#objectSize(entry) };
    });
  }

  /** Bytes of the object at an offset, by its own entry alone, however long its chain is. @throws ImgstoreError `DAMAGED`. */
  sizeAt(offset: number): number {
    return this.#locate(offset, () => this.#objectSize(entryAt(this.#contents, offset)));
  }

  /** Where the object's bytes lie, for a reader in this thread or another. @throws ImgstoreError `DAMAGED`. */
  streams(position: number): PackedStreams {
    return this.streamsAt(this.idx.offset(position));
  }

  /** As {@link Pack.streams}, by offset in the pack. */
  streamsAt(offset: number): PackedStreams {
    return this.#locate(offset, () => streamsAt(this.#contents, offset));
  }

  /** Where the entry at an offset begins, for a reader in another thread that looks by itself what it is. */
  entryAt(offset: number): PackedEntry {
    const [pack, fd, end] = [this.#number, this.#file.fd, this.entriesEnd];
    return { pack, fd, offset, end, entryEnd: this.#entryEnds()?.of(offset) ?? end };
  }

  /** Looked up for whoever reads much of a pack: else three times as much is read as entries of clusters have. Undefined for others, and where the index is damaged. */
  #entryEnds(): EntryEnds | undefined {
    if (++this.#entriesAsked === MANY_ENTRIES) {
      try {
        this.#ends = new EntryEnds(this.idx, this.entriesEnd);
      } catch (error) {
        if (!(error instanceof ImgstoreError)) throw error;
      }
    }
    return this.#ends;
  }

  /** Number of deltas that lead to the object: 0 for one that is whole. */
  depth(position: number): number {
    return this.streams(position).deltas.length;
  }

  /** The head of the entry at an offset. @throws ImgstoreError `DAMAGED` naming pack and offset. */
  head(offset: number): EntryHead {
    return this.#locate(offset, () => entryAt(this.#contents, offset));
  }

  /** Bytes of the pack file, past the page cache. @throws ImgstoreError `DAMAGED`, `IO`. */
  readInto(into: Buffer, offset: number): void {
    this.#file.readInto(into, offset);
  }

  /** The pack's descriptor, for threads. */
  get fd(): number {
    return this.#file.fd;
  }

  /** Bytes of the pack file. */
  get packBytes(): number {
    return this.#file.size;
  }

  /** Byte behind the last entry. */
  get entriesEnd(): number {
    return this.#file.size - PACK_TRAILER_BYTES;
  }

  close(): void {
    this.#file.close();
    this.#index?.file.close();
  }

  #openIndex(): OpenIndex {
    const file = new FileBytes(`${this.stem}.idx`);
    try {
      const idx = new Idx(file);
      this.#locatedIn(this.path, () => this.#requireSame(idx));
      return { idx, file };
    } catch (error) {
      file.close();
      throw error;
    }
  }

  #requireSame(idx: Idx): void {
    if (this.#entries !== idx.count)
      throw damaged(`holds ${counted(this.#entries, 'entry', 'entries')}, its index ${idx.count}`);
    if (!idx.packChecksum().equals(this.#checksum()))
      throw damaged('its checksum is not the one in its index');
  }

  #hasChecksumOfName(): boolean {
    return (
      basename(this.stem) === `pack-${this.#locatedIn(this.path, () => this.#checksum()).toString('hex')}`
    );
  }

  #checksum(): Buffer {
    return this.#file.bytes(this.#file.size - PACK_TRAILER_BYTES, ID_BYTES);
  }

  #read(streams: PackedStreams): GitObject {
    try {
      return readStreams(streams);
    } catch (error) {
      throw fromSystem(error, this.path);
    }
  }

  #objectSize(entry: Entry): number {
    return entry.kind.endsWith('delta') ? this.#deltaResultSize(entry) : entry.size;
  }

  #deltaResultSize(entry: Entry): number {
    const start = entry.offset + entry.length;
    const length = Math.min(PREFIX_STREAM_BYTES, this.#file.size - PACK_TRAILER_BYTES - start);
    return deltaSizes(codecs().deflate.inflatePrefix(this.#file.bytes(start, length))).result;
  }

  #locate<T>(offset: number, read: () => T): T {
    return this.#locatedIn(`${this.path}: entry at ${offset}`, read);
  }

  #locatedIn<T>(where: string, read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw prefixed(error, where);
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
