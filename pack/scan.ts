import { setImmediate as breathe } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { counted, ImgstoreError, isImgstoreError } from '../errors/index.ts';
import { idToBytes, inflateMeasured, MOST_OBJECT_BYTES, type ObjectId, objectId } from '../objects/index.ts';
import { FileBytes, MemoryBytes } from './bytes.ts';
import { MOST_DEPTH } from './chain.ts';
import { type EntryHead, MOST_ENTRY_HEAD_BYTES, parseEntryHead } from './entry.ts';
import { EntryTable } from './entry-table.ts';
import { PACK_HEADER_BYTES, PACK_TRAILER_BYTES, parsePackHeader } from './header.ts';
import { encodeIdx } from './idx/encode.ts';
import { Idx } from './idx/idx.ts';
import { newPackNumber } from './pack.ts';
import { encodeRev } from './rev.ts';
import { type PackedStream, readStreams } from './streams.ts';

/** Entries between two chances for others to run. */
const ENTRIES_A_TURN = 64;

/** An entry whose object is known. */
export interface ScannedEntry {
  readonly id: ObjectId;
  readonly offset: number;
  /** Byte behind it. */
  readonly end: number;
  readonly crc: number;
}

/** An entry on the way to its id. */
interface FoundEntry extends EntryHead {
  readonly offset: number;
  readonly end: number;
  readonly crc: number;
  id: ObjectId | undefined;
}

/** What a pack holds by its own bytes, found without an index. Memory: some 300 bytes an entry, for a pack at a time whose index is lost. */
export class ScannedPack {
  /** In the order of the pack. */
  readonly entries: readonly ScannedEntry[];
  /** What is in the way of reading the rest: one line each, naming pack and offset. */
  readonly faults: readonly string[];
  readonly #trailer: Uint8Array;

  constructor(entries: readonly ScannedEntry[], faults: readonly string[], trailer: Uint8Array) {
    this.entries = entries;
    this.faults = faults;
    this.#trailer = trailer;
  }

  /** The bytes of an index of the pack. */
  encodeIdx(): Buffer {
    const { table, order } = this.#table();
    return encodeIdx(table, order, this.#trailer);
  }

  /** The bytes of a reverse index of the pack. */
  encodeRev(): Buffer {
    const { order } = this.#table();
    const positions = new Uint32Array(order.length);
    order.forEach((row, position) => {
      positions[row] = position;
    });
    return encodeRev(positions, this.#trailer);
  }

  /** An index in memory. @param name for messages */
  idx(name: string): Idx {
    return new Idx(new MemoryBytes(name, this.encodeIdx()));
  }

  #table() {
    const table = new EntryTable();
    for (const { id, crc, offset } of this.entries) table.add(idToBytes(id), crc, offset);
    return { table, order: table.byId() };
  }
}

/**
 * Finds the objects of a pack by reading it from the start, as git's index-pack does. Where an entry cannot be read, nothing says where the next one begins
 * but a damaged index.
 * @param hints bytes at which entries may begin, ascending: where to go on behind a damaged one
 * @throws ImgstoreError `NOT_FOUND`, `IO`
 */
export async function scanPack(path: string, hints: readonly number[] = []): Promise<ScannedPack> {
  const file = new FileBytes(path);
  try {
    return await new PackScan(file, hints).run();
  } finally {
    file.close();
  }
}

class PackScan {
  readonly #file: FileBytes;
  readonly #hints: readonly number[];
  readonly #end: number;
  readonly #number = newPackNumber();
  readonly #found = new Map<number, FoundEntry>();
  readonly #byId = new Map<ObjectId, FoundEntry>();
  readonly #faults: string[] = [];

  constructor(file: FileBytes, hints: readonly number[]) {
    this.#file = file;
    this.#hints = hints;
    this.#end = file.size - PACK_TRAILER_BYTES;
  }

  async run(): Promise<ScannedPack> {
    const said = this.#attempt(0, () => parsePackHeader(this.#file.bytes(0, PACK_HEADER_BYTES)));
    await this.#findEntries();
    await this.#findIds();
    const entries = [...this.#found.values()].flatMap(({ id, offset, end, crc }) =>
      id === undefined ? [] : [{ id, offset, end, crc }],
    );
    if (said !== undefined && said !== this.#found.size)
      this.#faults.push(
        `${this.#file.name}: says that it holds ${counted(said, 'entry', 'entries')}: ${this.#found.size} found`,
      );
    const trailer =
      this.#end < 0 ? Buffer.alloc(PACK_TRAILER_BYTES) : this.#file.bytes(this.#end, PACK_TRAILER_BYTES);
    return new ScannedPack(withoutCopies(entries), this.#faults, Buffer.from(trailer));
  }

  async #findEntries(): Promise<void> {
    for (let at = PACK_HEADER_BYTES, turn = 1; at < this.#end; turn++) {
      const offset = at;
      const entry = this.#attempt(offset, () => this.#entry(offset));
      if (entry !== undefined) {
        this.#found.set(offset, entry);
        if (entry.id !== undefined) this.#byId.set(entry.id, entry);
      }
      at = entry?.end ?? this.#hints.find((hint) => hint > offset) ?? this.#end;
      if (turn % ENTRIES_A_TURN === 0) await breathe();
    }
  }

  /** Bases come before what stands on them, but for those that are named by id: these take further rounds. */
  async #findIds(): Promise<void> {
    let open = [...this.#found.values()].filter(({ id }) => id === undefined);
    for (let before = open.length + 1; open.length > 0 && open.length < before; ) {
      before = open.length;
      const left: FoundEntry[] = [];
      for (const [i, entry] of open.entries()) {
        const chain = this.#chain(entry);
        if (chain === undefined) left.push(entry);
        else this.#attempt(entry.offset, () => this.#resolve(entry, chain));
        if (i % ENTRIES_A_TURN === 0) await breathe();
      }
      open = left;
    }
    for (const { offset } of open)
      this.#faults.push(`${this.#file.name}: entry at ${offset}: its base cannot be read`);
  }

  #entry(offset: number): FoundEntry {
    const head = parseEntryHead(
      this.#file.bytes(offset, Math.min(MOST_ENTRY_HEAD_BYTES, this.#end - offset)),
    );
    const start = offset + head.length;
    if (head.size > MOST_OBJECT_BYTES || start >= this.#end) throw tooLarge(head.size);
    const bytes = this.#file.bytes(
      start,
      Math.min(this.#end - start, head.size + Math.ceil(head.size / 8) + 64),
    );
    const { data, length } = inflateMeasured(bytes, head.size);
    const end = start + length;
    const crc = crc32(this.#file.bytes(offset, end - offset));
    const isDelta = head.kind === 'ofs-delta' || head.kind === 'ref-delta';
    return { ...head, offset, end, crc, id: isDelta ? undefined : objectId(head.kind as 'blob', data) };
  }

  /** The whole object that an entry stands on, and the deltas from there to it; undefined when something on the way is not found (yet). */
  #chain(entry: FoundEntry): readonly FoundEntry[] | undefined {
    const chain = [entry];
    for (let at = entry; at.kind.endsWith('delta'); chain.unshift(at)) {
      const base =
        at.kind === 'ofs-delta' ? this.#found.get(at.offset - at.distance!) : this.#byId.get(at.base!);
      if (base === undefined || chain.length > MOST_DEPTH) return undefined;
      at = base;
    }
    return chain;
  }

  #resolve(entry: FoundEntry, [base, ...deltas]: readonly FoundEntry[]): void {
    const object = readStreams({
      pack: this.#number,
      fd: this.#file.fd,
      type: base!.kind as 'blob',
      base: streamOf(base!),
      deltas: deltas.map(streamOf),
    });
    entry.id = objectId(object.type, object.data);
    this.#byId.set(entry.id, entry);
  }

  #attempt<T>(offset: number, look: () => T): T | undefined {
    try {
      return look();
    } catch (error) {
      if (!isImgstoreError(error, 'DAMAGED') && !isImgstoreError(error, 'UNSUPPORTED')) throw error;
      const where = offset === 0 ? '' : `entry at ${offset}: `;
      this.#faults.push(`${this.#file.name}: ${where}${error.message}`);
      return undefined;
    }
  }
}

function streamOf({ offset, end, length, size }: FoundEntry): PackedStream {
  return { entry: offset, offset: offset + length, length: end - offset - length, size };
}

/** An index names each object once. */
function withoutCopies(entries: readonly ScannedEntry[]): ScannedEntry[] {
  const seen = new Set<ObjectId>();
  return entries.filter(({ id }) => !seen.has(id) && seen.add(id));
}

function tooLarge(size: number): ImgstoreError {
  return new ImgstoreError('DAMAGED', `says that it holds ${size} bytes`, { size });
}
