import { crc32 } from 'node:zlib';
import { codecs, idToBytes } from '../objects/index.ts';
import { encodeEntryHead, MOST_ENTRY_HEAD_BYTES } from './entry.ts';
import { EntryTable } from './entry-table.ts';
import { encodePackHeader, PACK_HEADER_BYTES, PACK_TRAILER_BYTES } from './header.ts';
import { encodeIdx } from './idx/encode.ts';
import type { PackableObject } from './writer.ts';

/** A pack in memory, with its index. */
export interface FinishedMemoryPack {
  /** The pack's last 32 bytes in hex: git names packs by it. */
  readonly checksum: string;
  readonly count: number;
  /** SHA-256 of all of the pack, in hex: who sends it is asked for that, and it costs nothing beside the checksum. */
  readonly sha256: string;
  /** Part of the memory that the pack was made in. */
  readonly pack: Buffer;
  readonly idx: Buffer;
}

/** Makes a pack in memory that is given, for what goes elsewhere and is in no store: whole objects only. */
export class MemoryPack {
  readonly #table = new EntryTable();
  readonly #memory: Buffer;
  #end = PACK_HEADER_BYTES;

  /** @param memory all that the pack can take, its frame included */
  constructor(memory: Buffer) {
    this.#memory = memory;
  }

  /** Number of objects so far. */
  get count(): number {
    return this.#table.count;
  }

  /** Adds an object, whose bytes are copied; false when there is no room for it. The caller sees to it that no id comes twice. */
  add({ id, type, size, deflated, crc }: PackableObject): boolean {
    const mostBytes = MOST_ENTRY_HEAD_BYTES + deflated.length + PACK_TRAILER_BYTES;
    if (this.#end + mostBytes > this.#memory.length) return false;
    const head = encodeEntryHead(type, size);
    this.#table.add(idToBytes(id), crc ?? crc32(deflated, crc32(head)), this.#end);
    this.#memory.set(head, this.#end);
    this.#memory.set(deflated, this.#end + head.length);
    this.#end += head.length + deflated.length;
    return true;
  }

  /** Completes the pack, to which nothing can be added then. */
  finish(): FinishedMemoryPack {
    const { count } = this.#table;
    this.#memory.set(encodePackHeader(count));
    const hash = codecs().hash.create().update(this.#memory.subarray(0, this.#end));
    const checksum = hash.copy().digest();
    this.#memory.set(checksum, this.#end);
    const sha256 = hash.update(checksum).digest();
    const pack = this.#memory.subarray(0, this.#end + PACK_TRAILER_BYTES);
    const idx = encodeIdx(this.#table, this.#table.byId(), checksum);
    return { checksum: hex(checksum), count, sha256: hex(sha256), pack, idx };
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
