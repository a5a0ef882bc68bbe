import type { BlockSource } from '../../block/index.ts';
import {
  BITMAP_FLAWS,
  type BitmapEntry,
  type BitmapFlaw,
  bitmapFlaw,
  directoryRange,
  parseBitmapDirectory,
} from '../meta/bitmap.ts';
import { type BitmapCluster, bitmapCluster } from '../meta/bitmap-table.ts';
import { badImage } from '../meta/fault.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import { type DirtyRange, dirtyRanges } from './bitmap-bits.ts';

/** Of a bitmap's table, read at once. */
const TABLE_STEP_BYTES = 64 * 1024;

/**
 * Reads the directory of persistent bitmaps.
 * @param image the file's name, for errors.
 * @throws ImgstoreError `BAD_IMAGE` naming the bitmap and the field.
 */
export async function readBitmaps(
  host: BlockSource,
  header: Qcow2Header,
  image: string,
): Promise<readonly PersistentBitmap[]> {
  if (header.bitmaps === undefined) return [];
  const { clusterBits, virtualSize } = header;
  const rules = { clusterSize: 2 ** clusterBits, virtualSize, image };
  const { offset, length } = directoryRange(header.bitmaps, rules, host.size);
  const directory = Buffer.allocUnsafe(length);
  await host.read(offset, directory);
  const { consistent } = header.bitmaps;
  return parseBitmapDirectory(directory, header.bitmaps.count, rules).map(
    (entry) => new PersistentBitmap(host, entry, bitmapFlaw(entry, consistent), rules),
  );
}

/** A dirty bitmap that is stored in an image: which parts of the disk were written since it was made. */
export class PersistentBitmap implements BitmapEntry {
  readonly name: string;
  readonly granularity: number;
  readonly tableOffset: number;
  readonly tableEntries: number;
  readonly inUse: boolean;
  readonly auto: boolean;
  readonly extraDataCompatible: boolean;
  readonly extraDataSize: number;
  /** Why it does not tell all that changed; undefined if it does. */
  readonly flaw: BitmapFlaw;
  readonly #host: BlockSource;
  readonly #clusterSize: number;
  readonly #virtualSize: number;
  readonly #image: string;

  constructor(
    host: BlockSource,
    entry: BitmapEntry,
    flaw: BitmapFlaw,
    rules: { readonly clusterSize: number; readonly virtualSize: number; readonly image: string },
  ) {
    this.name = entry.name;
    this.granularity = entry.granularity;
    this.tableOffset = entry.tableOffset;
    this.tableEntries = entry.tableEntries;
    this.inUse = entry.inUse;
    this.auto = entry.auto;
    this.extraDataCompatible = entry.extraDataCompatible;
    this.extraDataSize = entry.extraDataSize;
    this.flaw = flaw;
    this.#host = host;
    this.#clusterSize = rules.clusterSize;
    this.#virtualSize = rules.virtualSize;
    this.#image = rules.image;
  }

  /**
   * What the bitmap has as written, in order and never two ranges that touch; whole granules but for the disk's end.
   * Read as the walk goes on: a cluster of bits and a piece of the table are held at a time.
   *
   * One that is only switched off can be read too; look at {@link flaw} before trusting it.
   * @throws ImgstoreError `BAD_IMAGE` when what is stored is not valid, or not what it says it is.
   */
  async *dirty(): AsyncIterable<DirtyRange> {
    if (this.flaw !== undefined && this.flaw !== 'disabled') {
      throw badImage(
        this.#image,
        `bitmap ${JSON.stringify(this.name)} is not valid: ${BITMAP_FLAWS[this.flaw]}`,
        {
          bitmap: this.name,
          flaw: this.flaw,
        },
      );
    }
    let from = 0;
    let to = 0;
    for await (const range of this.#pieces()) {
      const end = range.offset + range.length;
      if (range.offset !== to) {
        if (to > from) yield { offset: from, length: to - from };
        from = range.offset;
      }
      to = end;
    }
    if (to > from) yield { offset: from, length: to - from };
  }

  /** Ranges that may touch. */
  async *#pieces(): AsyncIterable<DirtyRange> {
    /** Guest bytes that one cluster of bits stands for. */
    const span = this.#clusterSize * 8 * this.granularity;
    let bits: Buffer | undefined;
    for await (const { index, cluster } of this.#clusters()) {
      const start = index * span;
      const length = Math.min(span, this.#virtualSize - start);
      if (cluster === 'ones') yield { offset: start, length };
      else if (cluster !== 'zeros') {
        bits ??= Buffer.allocUnsafe(this.#clusterSize);
        await this.#readChecked(`cluster ${index}`, cluster, bits);
        yield* dirtyRanges(bits, start, length, this.granularity);
      }
    }
  }

  async *#clusters(): AsyncIterable<{ readonly index: number; readonly cluster: BitmapCluster }> {
    const stepEntries = TABLE_STEP_BYTES / TABLE_ENTRY_BYTES;
    for (let first = 0; first < this.tableEntries; first += stepEntries) {
      const count = Math.min(stepEntries, this.tableEntries - first);
      const table = Buffer.allocUnsafe(count * TABLE_ENTRY_BYTES);
      await this.#readChecked('table', this.tableOffset + first * TABLE_ENTRY_BYTES, table);
      for (let i = 0; i < count; i++) {
        const at = i * TABLE_ENTRY_BYTES;
        const cluster = bitmapCluster(table.readUInt32BE(at), table.readUInt32BE(at + 4), this.#clusterSize);
        if (cluster === undefined) {
          throw badImage(
            this.#image,
            `bitmap ${JSON.stringify(this.name)} has 0x${table.toString('hex', at, at + TABLE_ENTRY_BYTES)} as entry ${first + i} of its table, which is not valid`,
            { bitmap: this.name, index: first + i },
          );
        }
        yield { index: first + i, cluster };
      }
    }
  }

  async #readChecked(what: string, offset: number, into: Buffer): Promise<void> {
    if (offset > this.#host.size - into.length) {
      throw badImage(
        this.#image,
        `the ${what} of bitmap ${JSON.stringify(this.name)} at offset ${offset} leaves the file of ${this.#host.size} bytes: is the file cut off?`,
        { bitmap: this.name, offset },
      );
    }
    await this.#host.read(offset, into);
  }
}
