import type { BlockSource, ComparedExtent } from '../../block/index.ts';
import { deflateRoom, type MapRoot, type ObjectId } from '../../objects/index.ts';
import type { PackableObject } from '../../pack/index.ts';
import {
  BATCH_BYTES,
  BatchBuffers,
  type BatchPlan,
  closeBatch,
  type DiskBatch,
  openBatch,
  planBatches,
} from '../batches.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';
import { orderedMap } from '../ordered-map.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import { ingestedObjects, type StoreOrder } from '../workers/ingest-job.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import { DiskMap, type HeldDisk } from './disk-map.ts';
import { type ChangePlan, planChanges } from './plan-changes.ts';

/** What reading a disk into the store came to. */
export interface IngestedDisk {
  readonly map: MapRoot;
  /** Clusters that hold data. */
  readonly clusters: number;
  /** Clusters that the store did not have. */
  readonly newClusters: number;
  /** Bytes read from the source. */
  readonly readBytes: number;
}

/** A disk that the store holds, beside which another one is laid, to be read only where it differs. */
export interface IngestBasis {
  readonly held: HeldDisk;
  /** The extents of the whole other disk, `same` where it reads as `held` does. */
  readonly extents: () => AsyncIterable<ComparedExtent>;
}

/**
 * Batches in flight beyond the two of each thread, one of which it works on: while the oldest is written, threads must not run out of work. With 5 instead of 1 a first commit took
 * 3.2 s instead of 4.3 (medians of four on two busy cores), for 24 MB.
 */
const SPARE_BATCHES = 5;

export interface IngestOptions {
  /** Bytes. */
  readonly clusterSize: number;
  /** zlib level. */
  readonly compression: number;
  readonly database: ObjectDatabase;
  readonly transaction: ObjectTransaction;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
  /** About how many bytes there are to read. */
  readonly expectedBytes: number;
  /** Without one all of the disk is read. */
  readonly basis?: IngestBasis | undefined;
}

/** A batch whose new clusters are deflated. */
interface StoredBatch {
  /** Clusters that are zeros and were not read. */
  readonly cleared: ChangePlan['cleared'];
  readonly batch: DiskBatch;
  /** For each cluster; undefined for zeros. */
  readonly ids: readonly (ObjectId | undefined)[];
  readonly fresh: readonly PackableObject[];
  /** What the streams of `fresh` lie in: they must be taken before it is used again. */
  readonly output: SharedArrayBuffer | undefined;
}

/**
 * Reads a disk into a transaction: extents → batches → read and hash (threads) → is it known? → deflate (threads) → pack and map. Several batches are in
 * flight, so reading, both kinds of work and writing overlap; memory is that of the batches.
 */
export async function ingestDisk(source: BlockSource, options: IngestOptions): Promise<IngestedDisk> {
  const { clusterSize, database, transaction, workers, monitor, expectedBytes, basis } = options;
  const map = new DiskMap(database, transaction, source.size, clusterSize, basis?.held);
  const batches = new BatchIngest(source, options);
  const total = { newClusters: 0, readBytes: 0 };

  const width = 2 * workers.threads + SPARE_BATCHES;
  for await (const stored of orderedMap(plansOf(source, options), width, (plan) => batches.store(plan))) {
    throwIfStopped(monitor);
    const { batch, ids, cleared, fresh } = stored;
    for (const object of fresh) await transaction.add(object);
    await map.change({ clusters: batch.clusters, ids }, cleared);
    total.newClusters += fresh.length;
    total.readBytes += batch.length;
    batches.close(stored);
    monitor.onProgress?.({ done: total.readBytes, total: Math.max(total.readBytes, expectedBytes) });
  }
  return { ...(await map.finish()), ...total };
}

/** All that the disk holds, or, beside a disk that is held, what differs. */
async function* plansOf(
  source: BlockSource,
  { clusterSize, basis }: IngestOptions,
): AsyncGenerator<ChangePlan> {
  if (basis === undefined) {
    for await (const read of planBatches(source, clusterSize)) yield { read, cleared: [] };
    return;
  }
  const knownSize = basis.held.virtualSize;
  yield* planChanges(basis.extents(), { size: source.size, knownSize, clusterSize });
}

/** The batches of one disk on their way through the threads. */
class BatchIngest {
  readonly #source: BlockSource;
  readonly #options: IngestOptions;
  readonly #inputs: BatchBuffers;
  readonly #outputs: BatchBuffers;
  /**
   * Whether most clusters are new, by the batch before: then they are deflated when they are hashed, while the processor has them at hand; else those that are new are read and hashed
   * once more, which is cheap when they are few.
   */
  #mostAreNew: boolean;

  constructor(source: BlockSource, options: IngestOptions) {
    const { clusterSize, database } = options;
    this.#source = source;
    this.#options = options;
    this.#inputs = BatchBuffers.forReading(clusterSize);
    const clusters = Math.ceil(Math.max(BATCH_BYTES, clusterSize) / clusterSize);
    this.#outputs = new BatchBuffers(clusters * deflateRoom(clusterSize));
    this.#mostAreNew = database.packs.packs().length === 0;
  }

  async store({ read, cleared }: ChangePlan): Promise<StoredBatch> {
    return { ...(await this.#read(read)), cleared };
  }

  async #read(plan: BatchPlan): Promise<Omit<StoredBatch, 'cleared'>> {
    const batch = await openBatch(this.#source, plan, this.#options.clusterSize, this.#inputs);
    if (this.#mostAreNew) return this.#storeAtOnce(batch);
    const { ids } = await this.#options.workers.ingest({ batch, store: undefined });
    const picks = this.#claim(ids);
    if (picks.every((id) => id === undefined)) return { batch, ids, fresh: [], output: undefined };
    const { made, output } = await this.#deflate(batch, picks);
    return { batch, ids, fresh: ingestedObjects(batch, made, output), output };
  }

  /** Gives back the memory of a batch. */
  close({ batch, output }: StoredBatch): void {
    closeBatch(batch, this.#inputs);
    this.#outputs.giveBack(output);
  }

  async #storeAtOnce(batch: DiskBatch): Promise<Omit<StoredBatch, 'cleared'>> {
    const { made, output } = await this.#deflate(batch, undefined);
    const picks = this.#claim(made.ids);
    const fresh = ingestedObjects(batch, { ...made, ids: picks }, output);
    return { batch, ids: made.ids, fresh, output };
  }

  async #deflate(batch: DiskBatch, picks: StoreOrder['picks']) {
    const output = this.#outputs.take();
    const { workers, compression } = this.#options;
    const made = await workers.ingest({ batch, store: { picks, level: compression, output } });
    return { made, output };
  }

  /** Those that are new: claimed at once and in one go, so that two batches with the same cluster do not both store it. */
  #claim(ids: readonly (ObjectId | undefined)[]): (ObjectId | undefined)[] {
    const picks = ids.map((id) => (id !== undefined && this.#options.transaction.claim(id) ? id : undefined));
    const count = (some: readonly (ObjectId | undefined)[]) => some.filter((id) => id !== undefined).length;
    if (count(ids) > 0) this.#mostAreNew = 2 * count(picks) > count(ids);
    return picks;
  }
}
