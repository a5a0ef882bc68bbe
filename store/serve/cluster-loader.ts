import type { ObjectDatabase } from '../objects/database.ts';
import { type FetchPlace, fetchLocated, fetchPacked, type PackedFetch } from '../workers/fetch-job.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import { locateEntry, locateStored, withLocated } from '../workers/stored-stream.ts';

/** Clusters that a thread gets at once: as many as are hashed together. */
const MOST_PER_JOB = 16;

/**
 * Jobs that a thread has at most: the one at work and the next. What comes meanwhile waits and goes together, as each message costs 0.05 ms.
 */
const JOBS_PER_THREAD = 2;

/** A cluster that somebody waits for. */
interface Load extends FetchPlace {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads clusters into memory and checks them against their ids. One by itself is read at once in this thread, as a thread would take longer to be told than to do it (0.05 of 0.15 ms); several that
 * are asked for in one turn, or while threads are at work, go to threads.
 */
export class ClusterLoader {
  readonly #objects: ObjectDatabase;
  readonly #workers: ClusterWorkers;
  readonly #queue: Load[] = [];
  /** Jobs that threads have. */
  #jobs = 0;

  constructor(objects: ObjectDatabase, workers: ClusterWorkers) {
    this.#objects = objects;
    this.#workers = workers;
  }

  /** Fills a place with its cluster. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO` */
  load(place: FetchPlace): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ ...place, resolve, reject });
      if (this.#queue.length === 1) queueMicrotask(() => this.#start());
    });
  }

  #start(): void {
    if (this.#queue.length === 1 && this.#jobs === 0) {
      void this.#finish(this.#queue.splice(0), here);
      return;
    }
    const most = JOBS_PER_THREAD * this.#workers.threads;
    while (this.#queue.length > 0 && this.#jobs < most) {
      const share = Math.ceil(this.#queue.length / this.#workers.threads);
      this.#jobs++;
      void this.#finish(this.#queue.splice(0, Math.min(share, MOST_PER_JOB)), this.#workers).finally(() => {
        this.#jobs--;
        this.#start();
      });
    }
  }

  /** Tells each load what has become of it. */
  async #finish(loads: readonly Load[], where: Fetching): Promise<void> {
    try {
      await this.#objects.bring(loads.map(({ id }) => id));
      await this.#loadLocated(await this.#loadPacked(loads, where), where);
      for (const { resolve } of loads) resolve();
    } catch (error) {
      const [only, ...more] = loads;
      if (more.length === 0) return only!.reject(error);
      // One by one, so that a damaged one does no harm to others.
      for (const load of loads) await this.#finish([load], where);
    }
  }

  /** Returns those that are left: loose ones, and what packs are not enough for. */
  async #loadPacked(loads: readonly Load[], where: Fetching): Promise<readonly Load[]> {
    const left: Load[] = [];
    const found: Load[] = [];
    const items: PackedFetch[] = [];
    for (const load of loads) {
      const { id, length, memory, to } = load;
      const entry = locateEntry(this.#objects, id);
      if (entry === undefined) left.push(load);
      else {
        found.push(load);
        items.push({ id, length, memory, to, entry });
      }
    }
    if (items.length > 0) left.push(...(await where.fetchPacked(items)).map((i) => found[i]!));
    return left;
  }

  async #loadLocated(loads: readonly Load[], where: Fetching): Promise<void> {
    if (loads.length === 0) return;
    const items = loads.map(({ id, length, memory, to }) => {
      return { id, length, memory, to, stored: locateStored(this.#objects, id) };
    });
    await withLocated(this.#objects, items, (located) => where.fetchLocated(located));
  }
}

/** Threads, or this one. */
type Fetching = Pick<ClusterWorkers, 'fetchPacked' | 'fetchLocated'>;

const here: Fetching = {
  fetchPacked: async (items) => fetchPacked(items),
  fetchLocated: async (items) => fetchLocated(items),
};
