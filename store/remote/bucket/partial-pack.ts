import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { allDone } from '../../../block/index.ts';
import { fromSystem, ImgstoreError } from '../../../errors/index.ts';
import { MOST_ENTRY_HEAD_BYTES, Pack, parseEntryHead } from '../../../pack/index.ts';
import { packName, type RemotePack } from '../../../remote/index.ts';
import type { BucketRemote } from './bucket-remote.ts';

/** Bytes between two entries that are fetched along rather than asked around: a request takes as long as 64 KiB and more. */
const MOST_GAP = 64 * 1024;
/** Bytes of one request, which are in memory meanwhile. */
const MOST_RANGE = 8 * 2 ** 20;

/** Bytes [from, to) of a pack. */
interface Range {
  readonly from: number;
  to: number;
}

/** Some entries of a bucket's pack in a file of their own, at the same places, with nothing between. */
export class PartialPack {
  readonly #remote: BucketRemote;
  readonly #row: RemotePack;
  readonly #stem: string;
  /** Entries that are here, by offset. */
  readonly #here = new Set<number>();
  #pack: Pack | undefined;

  private constructor(remote: BucketRemote, row: RemotePack, stem: string) {
    this.#remote = remote;
    this.#row = row;
    this.#stem = stem;
  }

  /** Begins one in a folder. */
  static async create(remote: BucketRemote, row: RemotePack, folder: string): Promise<PartialPack> {
    await mkdir(folder, { recursive: true });
    const stem = join(folder, `partial-${row.pack}`);
    try {
      const handle = await open(`${stem}.pack`, 'w');
      await handle.truncate(row.bytes);
      await handle.close();
    } catch (error) {
      throw fromSystem(error, stem);
    }
    return new PartialPack(remote, row, stem);
  }

  /** The pack, of which only the entries that were fetched may be read. */
  get pack(): Pack {
    const { idx, file } = this.#remote.indexes.of(this.#row);
    this.#pack ??= new Pack(this.#stem, { idx, file: { size: file.size, close: () => {} } });
    return this.#pack;
  }

  /** Whether an entry is here. */
  has(offset: number): boolean {
    return this.#here.has(offset);
  }

  /** Fetches entries, and what their deltas are against. @param offsets of the entries @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `REMOTE_…`, `IO`. */
  async fetch(offsets: Iterable<number>): Promise<void> {
    let wanted = [...new Set(offsets)].filter((offset) => !this.#here.has(offset));
    while (wanted.length > 0) {
      const ranges = this.#ranges(wanted);
      const handle = await open(`${this.#stem}.pack`, 'r+');
      try {
        await allDone(ranges.map((range) => this.#fetchRange(range, handle)));
      } catch (error) {
        throw fromSystem(error, this.#stem);
      } finally {
        await handle.close();
      }
      for (const offset of wanted) this.#here.add(offset);
      const bases = wanted.map((offset) => this.#baseOf(offset)).filter((base) => base !== undefined);
      wanted = [...new Set(bases)].filter((offset) => !this.#here.has(offset));
    }
  }

  async remove(): Promise<void> {
    this.#pack?.close();
    await rm(`${this.#stem}.pack`, { force: true });
  }

  #ranges(offsets: readonly number[]): Range[] {
    const ranges: Range[] = [];
    for (const from of offsets.toSorted((a, b) => a - b)) {
      const to = this.#remote.indexes.entryEnd(this.#row, from);
      const last = ranges.at(-1);
      if (last !== undefined && from - last.to <= MOST_GAP && to - last.from <= MOST_RANGE) last.to = to;
      else ranges.push({ from, to });
    }
    return ranges;
  }

  async #fetchRange({ from, to }: Range, handle: Awaited<ReturnType<typeof open>>): Promise<void> {
    const { bucket } = this.#remote;
    const bytes = await bucket.get(packName(this.#row), { offset: from, length: to - from });
    if (bytes.length !== to - from) throw this.#damaged(`ends at ${from + bytes.length}`);
    await handle.write(bytes, 0, bytes.length, from);
  }

  /** Where the base of an entry begins, if it is a delta. */
  #baseOf(offset: number): number | undefined {
    const head = Buffer.alloc(Math.min(MOST_ENTRY_HEAD_BYTES, this.#row.bytes - offset));
    this.pack.readInto(head, offset);
    const { kind, distance, base } = parseEntryHead(head);
    if (kind === 'ofs-delta') return offset - distance!;
    if (kind !== 'ref-delta') return undefined;
    const { idx } = this.#remote.indexes.of(this.#row);
    const position = idx.find(base!);
    if (position === undefined) throw this.#damaged(`entry at ${offset}: its base is not in the pack`);
    return idx.offset(position);
  }

  #damaged(reason: string): ImgstoreError {
    const where = `${this.#remote.bucket.where}: ${packName(this.#row)}`;
    return new ImgstoreError('DAMAGED', `${where}: ${reason}`, { where });
  }
}
