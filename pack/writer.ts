import { setImmediate } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { ImgstoreError } from '../errors/index.ts';
import { type FileKind, type FileRules, PendingFile } from '../files/index.ts';
import { codecs, idToBytes, type ObjectId, type ObjectType } from '../objects/index.ts';
import { encodeEntryHead, encodeOfsDeltaHead, parseEntryHead } from './entry.ts';
import { EntryTable } from './entry-table.ts';
import { encodePackHeader } from './header.ts';
import { encodeIdx } from './idx/encode.ts';
import { encodeMtimes } from './mtimes.ts';
import type { PackOrder } from './order.ts';
import type { Pack } from './pack.ts';
import { PendingPack } from './pending-pack.ts';
import { encodeRev } from './rev.ts';

/** Entries are gathered into writes of this size. */
const WRITE_BYTES = 1024 * 1024;

/**
 * Bytes that are read back and hashed at a time: they are in the processor's cache when they are hashed. 290 MB take 0.20 s, and 0.22 in pieces of 1 MiB that another thread reads.
 */
const READ_BYTES = 256 * 1024;
const READS_A_TURN = 32;

/** Bytes after which what was written is sent to the disk, while more comes: a pack of 280 MB then waits no second for its fsync. */
const SEND_BYTES = 32 * 1024 * 1024;

/** Permission bits: packs never change. */
const PACK_MODE = 0o444;

/** An object ready to be packed: deflated, whole. */
export interface PackableObject {
  readonly id: ObjectId;
  readonly type: ObjectType;
  /** Bytes of `deflated` inflated. */
  readonly size: number;
  /** A zlib stream of the object's data. */
  readonly deflated: Uint8Array;
  /** CRC-32 of the entry, if it is known: of its head and the stream. */
  readonly crc?: number | undefined;
}

/** An object as a delta, ready to be packed. */
export interface PackableDelta {
  readonly id: ObjectId;
  /** Bytes of the delta, inflated. */
  readonly size: number;
  /** A zlib stream of the delta. */
  readonly deflated: Uint8Array;
  /** Byte of the pack at which the base's entry begins. */
  readonly base: number;
}

/**
 * Writes objects into a new pack as they come. The pack's header says how many there are, which is known only at the end: it is
 * written then, and the file is read back once for the checksum.
 */
export class PackWriter {
  readonly #folder: string;
  readonly #rules: FileRules;
  readonly #file: PendingFile;
  readonly #table = new EntryTable();
  readonly #buffer = Buffer.allocUnsafe(WRITE_BYTES);
  #buffered = 0;
  #end = 0;
  #sent = 0;

  readonly #lasting: boolean;

  private constructor(folder: string, rules: FileRules, file: PendingFile, lasting: boolean) {
    this.#folder = folder;
    this.#rules = rules;
    this.#file = file;
    this.#lasting = lasting;
  }

  /**
   * Begins a pack in `folder` (a store's `objects/pack`) under a temporary name.
   * @param lasting false: nothing is fsynced, as for a pack that goes once it was sent elsewhere
   */
  static async create(
    folder: string,
    rules: FileRules = {},
    { lasting = true }: { readonly lasting?: boolean } = {},
  ): Promise<PackWriter> {
    const writer = new PackWriter(folder, rules, await create('pack', folder, rules), lasting);
    await writer.#append(encodePackHeader(0));
    return writer;
  }

  /** Number of objects so far. */
  get count(): number {
    return this.#table.count;
  }

  /** Bytes so far. */
  get bytes(): number {
    return this.#end;
  }

  /** Adds an object; its bytes are copied. The caller sees to it that no id comes twice. */
  async add(object: PackableObject): Promise<void> {
    const { id, type, size, deflated, crc } = object;
    await this.#addEntry(id, encodeEntryHead(type, size), deflated, crc);
  }

  /** Adds an object as a delta against an entry that is in the pack already. */
  async addDelta({ id, size, deflated, base }: PackableDelta): Promise<void> {
    await this.#addEntry(id, encodeOfsDeltaHead(size, this.#end - base), deflated);
  }

  /**
   * Takes over all entries of another pack, byte for byte, at the same offsets: this pack must be empty. Distances to bases and CRCs stay
   * as they are. Returns how many of them are deltas.
   * @throws ImgstoreError `DAMAGED` when an entry's bytes do not fit its CRC
   */
  async addAll(pack: Pack, order: PackOrder): Promise<number> {
    if (this.count > 0) throw new RangeError('entries keep their offsets only in an empty pack');
    let deltas = 0;
    for (const [i, position] of order.positions.entries()) {
      const offset = order.offset(i);
      const crc = pack.idx.crc(position);
      const entry = Buffer.allocUnsafe(order.end(i) - offset);
      pack.readInto(entry, offset);
      if (crc32(entry) !== crc) {
        throw new ImgstoreError('DAMAGED', `${pack.path}: entry at ${offset} does not fit its CRC-32`, {
          path: pack.path,
          offset,
        });
      }
      this.#table.add(idToBytes(pack.idx.id(position)), crc, this.#end);
      if (parseEntryHead(entry).kind.endsWith('delta')) deltas++;
      await this.#append(entry);
    }
    return deltas;
  }

  /**
   * Completes pack, index and reverse index, fsynced, still under temporary names.
   * @param usedSeconds makes it a cruft pack: when each object was last used, in the order in which they were added: seconds since 1970
   */
  async finish(usedSeconds?: readonly number[]): Promise<PendingPack> {
    await this.#flush();
    await this.#file.write(0, encodePackHeader(this.#table.count));
    if (this.#lasting) this.#file.beginSync();
    const checksum = await this.#checksum();
    await this.#file.write(this.#end, checksum);
    if (this.#lasting) await this.#file.sync();

    const order = this.#table.byId();
    const rev = encodeRev(packOrder(order), checksum);
    const idx = encodeIdx(this.#table, order, checksum);
    const pending: PendingFile[] = [this.#file];
    try {
      pending.push(await this.#writeBeside('rev', rev));
      if (usedSeconds !== undefined) {
        const byPosition = Array.from(order, (row) => usedSeconds[row]!);
        pending.push(await this.#writeBeside('mtimes', encodeMtimes(byPosition, checksum)));
      }
      pending.push(await this.#writeBeside('idx', idx));
      const fileBytes = this.#end + checksum.length + rev.length + idx.length;
      const name = Buffer.from(checksum).toString('hex');
      return new PendingPack(this.#folder, name, fileBytes, pending, this.#lasting);
    } catch (error) {
      for (const file of pending) await file.discard();
      throw error;
    }
  }

  /** Removes what was written. Never throws. */
  async discard(): Promise<void> {
    await this.#file.discard();
  }

  async #addEntry(
    id: ObjectId,
    head: Uint8Array,
    deflated: Uint8Array,
    crc = crc32(deflated, crc32(head)),
  ): Promise<void> {
    this.#table.add(idToBytes(id), crc, this.#end);
    await this.#append(head);
    await this.#append(deflated);
  }

  /** Copies into one buffer that is written whenever it is full. */
  async #append(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const part = bytes.subarray(done, done + WRITE_BYTES - this.#buffered);
      this.#buffer.set(part, this.#buffered);
      this.#buffered += part.length;
      this.#end += part.length;
      done += part.length;
      if (this.#buffered === WRITE_BYTES) await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    const length = this.#buffered;
    this.#buffered = 0;
    await this.#file.write(this.#end - length, this.#buffer.subarray(0, length));
    if (!this.#lasting || this.#end - this.#sent < SEND_BYTES) return;
    this.#sent = this.#end;
    this.#file.beginSync();
  }

  async #writeBeside(kind: FileKind, bytes: Uint8Array): Promise<PendingFile> {
    const file = await create(kind, this.#folder, this.#rules);
    try {
      await file.write(0, bytes);
      if (this.#lasting) await file.sync();
      return file;
    } catch (error) {
      await file.discard();
      throw error;
    }
  }

  async #checksum(): Promise<Uint8Array> {
    const hash = codecs().hash.create();
    for (let at = 0, turn = 0; at < this.#end; turn++) {
      // Other events have their turn now and then.
      if (turn % READS_A_TURN === 0) await setImmediate();
      const chunk = this.#buffer.subarray(0, Math.min(READ_BYTES, this.#end - at));
      const read = this.#file.read(at, chunk);
      if (read === 0)
        throw new ImgstoreError('IO', `${this.#file.path}: became shorter while it was written`, {
          path: this.#file.path,
        });
      hash.update(chunk.subarray(0, read));
      at += read;
    }
    return hash.digest();
  }
}

function create(kind: FileKind, folder: string, { sharing }: FileRules): Promise<PendingFile> {
  return PendingFile.create(kind, folder, { prefix: 'tmp_', mode: PACK_MODE, sharing });
}

/** Index positions by place in the pack. Rows were added in pack order, so it is the inverse of `order`. */
function packOrder(order: Uint32Array): Uint32Array {
  const positions = new Uint32Array(order.length);
  order.forEach((row, position) => {
    positions[row] = position;
  });
  return positions;
}
