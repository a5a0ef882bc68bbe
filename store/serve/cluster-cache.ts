import { allDone } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import { ClusterLoader } from './cluster-loader.ts';
import { ClusterMemory, type ClusterSlot } from './cluster-memory.ts';

/** A cluster of a version. */
export interface WantedCluster {
  readonly id: ObjectId;
  /** Length in bytes that it must have. */
  readonly length: number;
}

/** A part of a cluster, and where it goes. */
export interface ClusterPart extends WantedCluster {
  /** Offset in the cluster. */
  readonly from: number;
  readonly into: Uint8Array;
}

export interface ClusterCacheOptions {
  /** Of the largest clusters, in bytes. */
  readonly clusterSize: number;
  /** How much is kept. */
  readonly mostBytes: number;
  /** After as long without a read everything is given up. */
  readonly idleMs: number;
}

interface Entry {
  readonly id: ObjectId;
  readonly slot: ClusterSlot;
  readonly length: number;
  readonly loaded: Promise<void>;
  isLoading: boolean;
  /** Reads that wait for it: it cannot be given up. */
  readers: number;
}

/** Some 1 MB of ids. */
const MOST_READ_ONCE = 8192;

/** A part of a cluster that is not there yet. */
interface WaitingRead {
  readonly part: ClusterPart;
  readonly entry: Entry;
}

/**
 * Clusters that were read last, checked against their ids, in bounded memory. All exports share it: a cluster that versions have in common is there once. What several ask for at a time is read
 * once.
 */
export class ClusterCache {
  readonly #options: ClusterCacheOptions;
  readonly #loader: ClusterLoader;
  readonly #memory: ClusterMemory;
  /** The least recently used first. */
  readonly #entries = new Map<ObjectId, Entry>();
  readonly #idleTimer: NodeJS.Timeout;
  #usedMs = performance.now();
  /** Clusters of which all was read, once, past the cache; the oldest first. */
  readonly #readOnce = new Set<ObjectId>();
  /** Clusters that are being read. */
  #loading = 0;

  constructor(objects: ObjectDatabase, workers: ClusterWorkers, options: ClusterCacheOptions) {
    this.#options = options;
    this.#loader = new ClusterLoader(objects, workers);
    this.#memory = new ClusterMemory(options.clusterSize);
    this.#idleTimer = setInterval(() => this.#giveUpWhenIdle(), options.idleMs / 2).unref();
  }

  /** Bytes of memory that it has. */
  get bytes(): number {
    return this.#memory.bytes;
  }

  /**
   * Copies parts of clusters to where they are wanted.
   * @returns undefined when all were there, and are copied
   * @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO`
   */
  read(parts: readonly ClusterPart[]): Promise<void> | undefined {
    this.#usedMs = performance.now();
    const direct: Promise<void>[] = [];
    const waiting: WaitingRead[] = [];
    for (const part of parts) {
      const isWhole = part.into.length === part.length && !this.#entries.has(part.id);
      // Who asks for several at a time copies a disk, again if this is the second time.
      const isDirect = isWhole && (parts.length > 1 || this.#isFirst(part.id));
      const loading = isDirect ? this.#loadInto(part) : undefined;
      const waitingRead = loading === undefined ? this.#copyOrFind(part) : undefined;
      if (loading !== undefined) direct.push(loading);
      if (waitingRead !== undefined) waiting.push(waitingRead);
    }
    if (direct.length === 0 && waiting.length === 0) return undefined;
    return allDone([...direct, this.#wait(waiting)]);
  }

  /** Reads clusters that will be wanted soon, as far as there is room for them beside what is being read. */
  prefetch(clusters: readonly WantedCluster[]): void {
    for (const wanted of clusters) {
      if (this.#loading * this.#options.clusterSize > this.#options.mostBytes / 2) return;
      if (!this.#entries.has(wanted.id)) this.#enter(wanted);
    }
  }

  close(): void {
    clearInterval(this.#idleTimer);
    this.#entries.clear();
    this.#memory.clear();
  }

  /** Whether a cluster was not read lately, all of it; it counts as read from then on. */
  #isFirst(id: ObjectId): boolean {
    if (this.#readOnce.delete(id)) return false;
    this.#readOnce.add(id);
    if (this.#readOnce.size > MOST_READ_ONCE) this.#readOnce.delete(this.#readOnce.values().next().value!);
    return true;
  }

  /**
   * Reads a cluster to where it is wanted, past the cache: whole clusters are read once by most, such as who copies a disk. What is read again soon, by itself, goes into the cache: to fill that takes a third of the speed of a copy. Undefined where threads cannot write.
   */
  #loadInto({ id, length, into }: ClusterPart): Promise<void> | undefined {
    const { buffer: memory, byteOffset: to } = into;
    return memory instanceof SharedArrayBuffer ? this.#loader.load({ id, length, memory, to }) : undefined;
  }

  /** Copies what is there; else the read that has to wait. @throws ImgstoreError `DAMAGED` for a cluster that is there and of another length */
  #copyOrFind(part: ClusterPart): WaitingRead | undefined {
    const found = this.#entries.get(part.id);
    if (found !== undefined && !found.isLoading) {
      this.#entries.delete(part.id);
      this.#entries.set(part.id, found);
      copyPart(found, part);
      return undefined;
    }
    const entry = found ?? this.#enter(part);
    entry.readers++;
    return { part, entry };
  }

  async #wait(reads: readonly WaitingRead[]): Promise<void> {
    try {
      for (const { part, entry } of reads) {
        await entry.loaded;
        copyPart(entry, part);
      }
    } finally {
      for (const { entry } of reads) {
        entry.readers--;
        this.#giveBackWhenGone(entry);
      }
    }
  }

  #enter({ id, length }: WantedCluster): Entry {
    const slot = this.#takeSlot();
    const loaded = this.#loader.load({ id, length, memory: slot.memory, to: slot.at });
    const entry: Entry = { id, slot, length, loaded, isLoading: true, readers: 0 };
    this.#entries.set(id, entry);
    this.#loading++;
    const end = () => {
      entry.isLoading = false;
      this.#loading--;
    };
    // A failure is told to those that wait for it; without any, whoever comes next tries again.
    loaded.then(end, () => {
      end();
      if (this.#entries.get(id) === entry) this.#entries.delete(id);
      this.#giveBackWhenGone(entry);
    });
    return entry;
  }

  /** Room for a cluster: that of the one that was not used for longest, when there is no more. What is in use is kept, which the bounds of the server on requests bound. */
  #takeSlot(): ClusterSlot {
    if (!this.#memory.hasFree && this.#memory.bytes >= this.#options.mostBytes) {
      for (const [id, entry] of this.#entries) {
        if (entry.isLoading || entry.readers > 0) continue;
        this.#entries.delete(id);
        return entry.slot;
      }
    }
    return this.#memory.take();
  }

  #giveBackWhenGone(entry: Entry): void {
    const isGone = this.#entries.get(entry.id) !== entry;
    if (isGone && entry.readers === 0 && !entry.isLoading) this.#memory.giveBack(entry.slot);
  }

  #giveUpWhenIdle(): void {
    const isUsed = performance.now() - this.#usedMs < this.#options.idleMs || this.#loading > 0;
    if (isUsed || [...this.#entries.values()].some(({ readers }) => readers > 0)) return;
    this.#entries.clear();
    this.#memory.clear();
  }
}

function copyPart({ id, slot, length }: Entry, part: ClusterPart): void {
  if (length !== part.length) {
    throw new ImgstoreError('DAMAGED', `object ${id}: is ${length} bytes long, not ${part.length}`, { id });
  }
  part.into.set(slot.bytes.subarray(part.from, part.from + part.into.length));
}
