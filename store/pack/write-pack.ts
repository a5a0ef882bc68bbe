import { codecs } from '../../objects/index.ts';
import { PackOrder, PackWriter, type PendingPack } from '../../pack/index.ts';
import { orderedMap } from '../ordered-map.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import type { Store } from '../store.ts';
import { formRoom, type PackedForm, type PackItem } from '../workers/pack-jobs.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import { readVerified } from '../workers/stored-stream.ts';
import { BATCH_BYTES, batchRows, type RowBatch } from './batches.ts';
import { type Candidate, Candidates } from './candidates.ts';
import { NO_BASE, type ObjectTable, TYPES } from './object-table.ts';
import type { PackPlan } from './plan.ts';
import type { Sequence } from './sequence.ts';
import type { SketchIndex } from './sketch-index.ts';
import { SourceStreams } from './source-streams.ts';

export interface WriteOptions {
  readonly workers: ClusterWorkers;
  readonly index: SketchIndex;
  /** Of the deflate codec. */
  readonly level: number;
  /** Deltas that may lead to an object. */
  readonly mostDepth: number;
  readonly monitor: Monitor;
}

/** A new pack that is complete and not visible yet. */
export interface WrittenPack {
  readonly pending: PendingPack;
  readonly objects: number;
  /** Objects that became deltas, or stayed ones. */
  readonly deltas: number;
}

/** What the forms of a batch of clusters may take beyond their data. */
const OUTPUT_SPARE_BYTES = 64 * 1024;

const NOT_WRITTEN = -1;

/**
 * Writes one pack of all that a plan gathers: the body byte for byte, then every object in sequence, whole or as a delta against one that comes before, whichever is
 * shorter; last the deltas that are taken over.
 *
 * A pipeline: read and sketch (threads) → candidates, in order → delta and deflate (threads) → write, in order. Bases are read from where they are
 * stored now, so batches need not wait for each other.
 */
export async function writePack(
  store: Store,
  { body }: PackPlan,
  table: ObjectTable,
  sequence: Sequence,
  options: WriteOptions,
): Promise<WrittenPack> {
  const writer = await PackWriter.create(store.objects.packs.folder, store.rules);
  try {
    const inBody = body === undefined ? 0 : await writer.addAll(body, new PackOrder(body));
    const run = new PackRun(store, body, table, sequence, writer, options);
    await run.write();
    return { pending: await writer.finish(), objects: writer.count, deltas: inBody + run.deltas };
  } catch (error) {
    await writer.discard();
    throw error;
  }
}

/** A batch on its way. */
interface SearchedBatch extends RowBatch {
  readonly input: SharedArrayBuffer;
  readonly output: SharedArrayBuffer;
  readonly sketches: readonly (readonly number[])[];
  readonly keep: readonly boolean[];
}

interface ChosenBatch extends SearchedBatch {
  readonly candidates: readonly (readonly Candidate[])[];
}

interface FormedBatch extends ChosenBatch {
  readonly forms: readonly PackedForm[];
}

class PackRun {
  deltas = 0;
  readonly #body: PackPlan['body'];
  readonly #table: ObjectTable;
  readonly #sequence: Sequence;
  readonly #writer: PackWriter;
  readonly #options: WriteOptions;
  readonly #sources: SourceStreams;
  readonly #candidates: Candidates;
  /** By row: byte of the new pack. */
  readonly #offset: Float64Array;
  readonly #buffers: { readonly input: SharedArrayBuffer; readonly output: SharedArrayBuffer }[] = [];

  constructor(
    store: Store,
    body: PackPlan['body'],
    table: ObjectTable,
    sequence: Sequence,
    writer: PackWriter,
    options: WriteOptions,
  ) {
    this.#body = body;
    this.#table = table;
    this.#sequence = sequence;
    this.#writer = writer;
    this.#options = options;
    this.#sources = new SourceStreams(store.objects, table);
    this.#candidates = new Candidates(table, body, options.index, keptHeights(table), options.mostDepth);
    this.#offset = new Float64Array(table.count).fill(NOT_WRITTEN);
  }

  async write(): Promise<void> {
    const { workers, monitor } = this.#options;
    // Each has 4 MiB of buffers.
    const width = workers.threads + 2;
    const total = this.#table.size.reduce((sum, size) => sum + size, 0);
    let done = 0;
    const batches = batchRows(this.#table, this.#sequence.rows);
    const searched = orderedMap(batches, width, (batch) => this.#search(batch));
    const formed = orderedMap(this.#choose(searched), width, (batch) => this.#form(batch));
    for await (const batch of formed) {
      throwIfStopped(monitor);
      if (batch.kind === 'search') await this.#writeForms(batch);
      else if (batch.kind === 'large') await this.#writeWhole(batch.rows[0]!);
      else for (const row of batch.rows) await this.#writeKept(row);
      this.#buffers.push({ input: batch.input, output: batch.output });
      done += batch.bytes;
      monitor.onProgress?.({ done, total });
    }
  }

  async #search(batch: RowBatch): Promise<SearchedBatch> {
    const buffers = this.#buffers.pop() ?? {
      input: new SharedArrayBuffer(BATCH_BYTES),
      output: new SharedArrayBuffer(BATCH_BYTES + OUTPUT_SPARE_BYTES),
    };
    if (batch.kind !== 'search') return { ...batch, ...buffers, sketches: [], keep: [] };
    const sketches = await this.#sources.located(batch.rows, () => {
      const items = batch.rows.map((row) => this.#sources.item(row));
      return this.#options.workers.sketch({ items, output: buffers.input });
    });
    return {
      ...batch,
      ...buffers,
      sketches,
      keep: batch.rows.map((row) => this.#sources.isWellDeflated(row)),
    };
  }

  async *#choose(batches: AsyncIterable<SearchedBatch>): AsyncGenerator<ChosenBatch> {
    for await (const batch of batches) {
      const candidates =
        batch.kind === 'search'
          ? await this.#candidates.choose(batch.rows, batch.sketches, (row) => this.#sequence.sibling(row))
          : [];
      yield { ...batch, candidates };
    }
  }

  async #form(batch: ChosenBatch): Promise<FormedBatch> {
    if (batch.kind !== 'search') return { ...batch, forms: [] };
    const { workers, level } = this.#options;
    const room = batch.rows.reduce((sum, row) => sum + formRoom(this.#table.size[row]!), 0);
    const output = room <= batch.output.byteLength ? batch.output : new SharedArrayBuffer(room);
    const forms = await this.#sources.located([], () => {
      const targets = batch.rows.map((row, i) => ({
        size: this.#table.size[row]!,
        candidates: batch.candidates[i]!.map((candidate) => this.#baseItem(candidate)),
        storedBytes: this.#sources.storedBytes(row),
        keep: batch.keep[i]!,
      }));
      return workers.deltify({ targets, input: batch.input, output, level });
    });
    return { ...batch, output, forms };
  }

  async #writeForms({ rows, forms, output, candidates }: FormedBatch): Promise<void> {
    const streams = new Uint8Array(output);
    let from = 0;
    for (const [i, row] of rows.entries()) {
      const { base, size, end } = forms[i]!;
      const deflated = streams.subarray(from, end);
      from = end;
      const id = this.#table.id(row);
      this.#offset[row] = this.#writer.bytes;
      if (base >= 0) {
        const candidate = candidates[i]![base]!;
        await this.#writer.addDelta({ id, size, deflated, base: this.#place(candidate) });
        this.#candidates.setDepth(row, 1 + this.#depth(candidate));
        this.deltas++;
        continue;
      }
      const stream = deflated.length > 0 ? deflated : this.#sources.entry(row).stream;
      await this.#writer.add({ id, type: TYPES[this.#table.type[row]!]!, size, deflated: stream });
      this.#candidates.setDepth(row, 0);
    }
  }

  /** Writes an object whole, made anew in this thread. */
  async #writeWhole(row: number): Promise<void> {
    const { id, type, size, data } = await this.#sources.located([row], async () => {
      const item = this.#sources.item(row);
      return { ...item, ...readVerified(item.stored, item.id) };
    });
    this.#offset[row] = this.#writer.bytes;
    await this.#writer.add({ id, type, size, deflated: codecs().deflate.deflate(data, this.#options.level) });
  }

  /** Takes a delta over; where its base has no place before it (two packs may have two objects as deltas of each other), the object is written whole. */
  async #writeKept(row: number): Promise<void> {
    const place = this.#offset[this.#table.find(this.#table.keptBaseId(row))!]!;
    if (place === NOT_WRITTEN) return this.#writeWhole(row);
    const { head, stream } = this.#sources.entry(row);
    this.#offset[row] = this.#writer.bytes;
    await this.#writer.addDelta({ id: this.#table.id(row), size: head.size, deflated: stream, base: place });
    this.deltas++;
  }

  #baseItem({ id, row, position }: Candidate): PackItem {
    return row === undefined ? this.#sources.bodyItem(this.#body!, id, position!) : this.#sources.item(row);
  }

  #place({ row, position }: Candidate): number {
    return row === undefined ? this.#body!.idx.offset(position!) : this.#offset[row]!;
  }

  #depth({ row, depth }: Candidate): number {
    return row === undefined ? depth : this.#candidates.depth(row);
  }
}

/** By row, how many kept deltas stand on an object, one on the other. */
function keptHeights(table: ObjectTable): Uint8Array {
  const height = new Uint8Array(table.count);
  const kept = Array.from(table.keptBase.keys()).filter((row) => table.keptBase[row] !== NO_BASE);
  // The last entries of a pack first: what stands on an entry comes behind it.
  kept.sort((a, b) => table.source[b]! - table.source[a]! || table.entry[b]! - table.entry[a]!);
  for (const row of kept) {
    const base = table.find(table.keptBaseId(row));
    if (base !== undefined) height[base] = Math.min(255, Math.max(height[base]!, height[row]! + 1));
  }
  return height;
}
