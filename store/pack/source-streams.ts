import { type ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { type Pack, type RawEntry, readRawEntry } from '../../pack/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { PackItem } from '../workers/pack-jobs.ts';
import { locatePacked, locateStored, readVerified, resolveStored } from '../workers/stored-stream.ts';
import { readElsewhere } from './gather.ts';
import { ELSEWHERE, LOOSE, type ObjectTable } from './object-table.ts';

/** The compression level that a zlib stream's header admits to: 2 is zlib's default, 3 its slowest (RFC 1950 section 2.2, FLEVEL). */
const LEAST_GOOD_LEVEL = 2;
const ZLIB_HEADER_BYTES = 2;

/** Reads gathered objects where they are stored now. */
export class SourceStreams {
  readonly #database: ObjectDatabase;
  readonly #table: ObjectTable;

  constructor(database: ObjectDatabase, table: ObjectTable) {
    this.#database = database;
    this.#table = table;
  }

  /** Where an object of the table is. @throws ImgstoreError `NOT_FOUND`, `DAMAGED`. */
  item(row: number): PackItem {
    const id = this.#table.id(row);
    const size = this.#table.size[row]!;
    const source = this.#table.source[row]!;
    if (source === LOOSE) return { id, size, stored: locateStored(this.#database, id) };
    if (source === ELSEWHERE) return { id, size, stored: resolveStored(this.#database, id) };
    const { pack, order } = this.#table.sources[source]!;
    const position = order.positions[this.#table.entry[row]!]!;
    return { id, size, stored: locatePacked({ pack, position }) };
  }

  /**
   * Does work on objects that {@link SourceStreams.item} has found, which it calls by itself; once more when one is not there any more: another process
   * moves loose objects into packs at any time. Source packs are open, so what is in them stays. And once more when one is damaged where it is, with whole copies of
   * those that are.
   * @param rows what the work reads and checks against its ids
   * @throws ImgstoreError what the work throws the second time; `DAMAGED` when there is no whole copy
   */
  async located<Result>(rows: readonly number[], work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if (isImgstoreError(error, 'NOT_FOUND')) this.#database.packs.refresh();
      else if (isImgstoreError(error, 'DAMAGED')) this.#leaveDamaged(rows, error);
      else throw error;
      return work();
    }
  }

  /** From here on those of the rows that are damaged where they were found are read from elsewhere. */
  #leaveDamaged(rows: readonly number[], damage: ImgstoreError): void {
    for (const row of rows) {
      const { id, stored } = this.item(row);
      try {
        readVerified(stored, id);
      } catch (error) {
        if (!isImgstoreError(error, 'DAMAGED')) throw error;
        if (readElsewhere(this.#database, id, error).data.length !== this.#table.size[row]) throw damage;
        this.#table.source[row] = ELSEWHERE;
      }
    }
  }

  /** Where an object of a pack that is taken over is. */
  bodyItem(pack: Pack, id: ObjectId, position: number): PackItem {
    return { id, size: pack.header(position).size, stored: locatePacked({ pack, position }) };
  }

  /** Bytes that an object's own stream takes now; undefined when it is a delta. */
  storedBytes(row: number): number | undefined {
    const source = this.#table.source[row]!;
    // One that is gone from its file is in a pack by now; its size is measure enough.
    if (source < 0) return this.#database.loose.fileSize(this.#table.id(row)) ?? this.#table.size[row]!;
    const { pack, order } = this.#table.sources[source]!;
    const entry = this.#table.entry[row]!;
    const offset = order.offset(entry);
    return pack.head(offset).kind.endsWith('delta') ? undefined : order.end(entry) - offset;
  }

  /** Whether an object is a whole entry of a pack whose stream was made with some effort, so that making it anew would bring little. */
  isWellDeflated(row: number): boolean {
    const source = this.#table.source[row]!;
    if (source < 0) return false;
    const { pack, order } = this.#table.sources[source]!;
    const offset = order.offset(this.#table.entry[row]!);
    const head = pack.head(offset);
    if (head.kind.endsWith('delta')) return false;
    const header = Buffer.allocUnsafe(ZLIB_HEADER_BYTES);
    pack.readInto(header, offset + head.length);
    return header[1]! >> 6 >= LEAST_GOOD_LEVEL;
  }

  /** An entry's head and its stream as it is in its pack. @throws ImgstoreError `DAMAGED`. */
  entry(row: number): RawEntry {
    const { pack, order } = this.#table.sources[this.#table.source[row]!]!;
    // A delta that is taken over is not inflated, and the object's other copies go: its CRC must tell that it is whole.
    return readRawEntry(pack, order, this.#table.entry[row]!, this.#table.size[row]!);
  }
}
