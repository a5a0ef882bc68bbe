import { ImgstoreError } from '../../errors/index.ts';
import { ID_BYTES, type ObjectId } from '../../objects/index.ts';
import type { ByteView } from '../bytes.ts';
import { checksumFits } from '../checksum.ts';
import { FAN_OUT_BYTES, IdTable } from '../id-table.ts';
import { type ChunkPlace, readChunkTable } from './chunks.ts';
import {
  BASE_COUNT_AT,
  CHUNK_ALIGNMENT,
  CHUNK_COUNT_AT,
  CHUNK_TABLE_AT,
  FAN_OUT,
  HASH_AT,
  HASH_SHA256,
  IDS,
  LARGE_OFFSET_BYTES,
  LARGE_OFFSET_FLAG,
  LARGE_OFFSETS,
  MIDX_SIGNATURE,
  MIDX_VERSION,
  PACK_COUNT_AT,
  PACK_NAMES,
  PACK_NUMBER_BYTES,
  PLACE_BYTES,
  PLACES,
  VERSION_AT,
} from './layout.ts';

/** More packs than anyone has: bounds what is allocated for their names. */
const MOST_PACKS = 2 ** 18;
/** NAME_MAX of Linux, and a zero byte. */
const MOST_NAME_BYTES = 256;
/** The name of a file in the same folder. */
const IDX_NAME = /^[^./][^/]*\.idx$/;

/** Where an object is. */
export interface MidxPlace {
  /** Name of the pack's index: `pack-….idx`. */
  readonly pack: string;
  /** Byte of the pack at which the entry begins. */
  readonly offset: number;
}

/**
 * A multi-pack-index, read in place: one index over the objects of many packs.
 *
 * The frame, the names and the fan-out are validated once, here; the checksum costs a read of the whole file and is left to {@link Midx.verify}.
 */
export class Midx {
  readonly ids: IdTable;
  /** Names of the indexes of its packs, ascending. */
  readonly packs: readonly string[];
  readonly #view: ByteView;
  readonly #places: ChunkPlace;
  readonly #largeOffsets: ChunkPlace | undefined;

  /**
   * @throws ImgstoreError `DAMAGED` naming file and field; `UNSUPPORTED` for another version or hash, and for one that builds on others
   */
  constructor(view: ByteView) {
    this.#view = view;
    const head = Buffer.from(view.bytes(0, CHUNK_TABLE_AT));
    if (head.readUInt32BE(0) !== MIDX_SIGNATURE) throw this.#damaged('does not begin with MIDX');
    this.#requireSupported(head);
    const chunks = readChunkTable(view, head[CHUNK_COUNT_AT]!, (reason) => this.#damaged(reason));
    this.packs = this.#readNames(this.#required(chunks, PACK_NAMES), head.readUInt32BE(PACK_COUNT_AT));
    const fanOut = this.#required(chunks, FAN_OUT, FAN_OUT_BYTES);
    this.ids = new IdTable(view, {
      fanOutAt: fanOut.at,
      idsAt: this.#required(chunks, IDS).at,
      damaged: (reason) => this.#damaged(reason),
    });
    this.#required(chunks, IDS, this.count * ID_BYTES);
    this.#places = this.#required(chunks, PLACES, this.count * PLACE_BYTES);
    this.#largeOffsets = chunks.get(LARGE_OFFSETS);
    const largeBytes = this.#largeOffsets?.size ?? 0;
    if (largeBytes % LARGE_OFFSET_BYTES !== 0 || largeBytes > this.count * LARGE_OFFSET_BYTES)
      throw this.#damaged(`chunk LOFF of ${largeBytes} bytes does not fit ${this.count} objects`);
  }

  /** Number of objects. */
  get count(): number {
    return this.ids.count;
  }

  /** Where an object is, or undefined. @throws ImgstoreError `DAMAGED` when its place is none. */
  find(id: ObjectId): MidxPlace | undefined {
    const position = this.ids.find(id);
    return position === undefined ? undefined : this.#place(position);
  }

  /** The ids that begin with some hex digits. */
  idsWithPrefix(prefix: string): Generator<ObjectId> {
    return this.ids.withPrefix(prefix);
  }

  /** Every object with its place, by id ascending. @throws ImgstoreError `DAMAGED` when a place is none. */
  *entries(): Generator<MidxPlace & { readonly id: ObjectId }> {
    for (let position = 0; position < this.count; position++)
      yield { id: this.ids.id(position), ...this.#place(position) };
  }

  /** Reads the whole file and checks its checksum, the order of its ids and every place. @throws ImgstoreError `DAMAGED`. */
  verify(): void {
    if (!checksumFits(this.#view)) throw this.#damaged('checksum does not fit its bytes');
    this.ids.verifyOrder();
    for (let position = 0; position < this.count; position++) this.#place(position);
  }

  #place(position: number): MidxPlace {
    const row = this.#view.bytes(this.#places.at + position * PLACE_BYTES, PLACE_BYTES);
    const number = row.readUInt32BE();
    const pack = this.packs[number];
    if (pack === undefined)
      throw this.#damaged(`object ${position} is in pack ${number} of ${this.packs.length}`);
    return { pack, offset: this.#offset(position, row.readUInt32BE(PACK_NUMBER_BYTES)) };
  }

  #offset(position: number, small: number): number {
    if (this.#largeOffsets === undefined || small < LARGE_OFFSET_FLAG) return small;
    const { at, size } = this.#largeOffsets;
    const row = small - LARGE_OFFSET_FLAG;
    if (row >= size / LARGE_OFFSET_BYTES)
      throw this.#damaged(
        `offset of object ${position} points to row ${row} of ${size / LARGE_OFFSET_BYTES}`,
      );
    const large = this.#view.bytes(at + row * LARGE_OFFSET_BYTES, LARGE_OFFSET_BYTES).readBigUInt64BE();
    if (large > BigInt(Number.MAX_SAFE_INTEGER))
      throw this.#damaged(`offset of object ${position} is ${large}`);
    return Number(large);
  }

  #requireSupported(head: Buffer): void {
    const version = head[VERSION_AT]!;
    if (version !== MIDX_VERSION) throw this.#unsupported(`is a multi-pack-index of version ${version}`);
    const hash = head[HASH_AT]!;
    if (hash !== HASH_SHA256)
      throw this.#unsupported(`is a multi-pack-index for hash function ${hash}, not SHA-256 (2)`);
    const bases = head[BASE_COUNT_AT]!;
    if (bases !== 0) throw this.#unsupported(`builds on ${bases} other multi-pack-indexes`);
  }

  /** The place of a chunk that must be there, of a size if one is given. */
  #required(chunks: ReadonlyMap<number, ChunkPlace>, name: number, size?: number): ChunkPlace {
    const chunk = chunks.get(name);
    if (chunk === undefined) throw this.#damaged(`has no chunk ${textOf(name)}`);
    if (size !== undefined && chunk.size !== size)
      throw this.#damaged(`chunk ${textOf(name)} has ${chunk.size} bytes, not ${size}`);
    return chunk;
  }

  #readNames({ at, size }: ChunkPlace, count: number): string[] {
    if (count > MOST_PACKS) throw this.#unsupported(`names ${count} packs`);
    if (size > count * MOST_NAME_BYTES + CHUNK_ALIGNMENT)
      throw this.#damaged(`chunk PNAM has ${size} bytes for ${count} packs`);
    const names = this.#view.bytes(at, size).toString('latin1').split('\0');
    if (names.length <= count)
      throw this.#damaged(`chunk PNAM ends within name ${names.length - 1} of ${count}`);
    const rest = names.splice(count);
    if (rest.length > CHUNK_ALIGNMENT || rest.some((text) => text !== ''))
      throw this.#damaged(`chunk PNAM goes on behind name ${count}`);
    names.forEach((name, i) => {
      if (!IDX_NAME.test(name)) throw this.#damaged(`name ${i} of its packs is ${JSON.stringify(name)}`);
      if (i > 0 && name <= names[i - 1]!) throw this.#damaged(`names of its packs do not ascend at ${name}`);
    });
    return names;
  }

  #damaged(reason: string): ImgstoreError {
    const path = this.#view.name;
    return new ImgstoreError('DAMAGED', `${path}: multi-pack-index is damaged: ${reason}`, { path, reason });
  }

  #unsupported(reason: string): ImgstoreError {
    const path = this.#view.name;
    return new ImgstoreError('UNSUPPORTED', `${path}: ${reason}`, { path, reason });
  }
}

function textOf(name: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(name);
  return bytes.toString('latin1');
}
