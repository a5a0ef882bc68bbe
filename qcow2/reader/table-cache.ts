import type { BlockSource } from '../../block/index.ts';

/** Enough for 64 GiB of a disk with 64 KiB clusters. */
const MAX_CACHE_BYTES = 8 * 1024 * 1024;
/** Clusters of 2 MiB still get a few tables. */
const MIN_TABLES = 4;

/**
 * L2 tables by host offset, least recently used out first. Holds at most 8 MiB of them or what it is told, but at
 * least 4 tables. Calls for a table that is on its way share one read.
 */
export class TableCache {
  readonly #host: BlockSource;
  readonly #tableBytes: number;
  readonly #capacity: number;
  /** In order of last use: a Map keeps the order of insertion. */
  readonly #tables = new Map<number, Buffer>();
  readonly #loading = new Map<number, Promise<Buffer>>();

  constructor(host: BlockSource, tableBytes: number, cacheBytes: number = MAX_CACHE_BYTES) {
    this.#host = host;
    this.#tableBytes = tableBytes;
    this.#capacity = Math.max(MIN_TABLES, Math.floor(Math.min(cacheBytes, MAX_CACHE_BYTES) / tableBytes));
  }

  /** Bytes of the host file, within which a table must lie. */
  get hostSize(): number {
    return this.#host.size;
  }

  /** The table at `offset`, at once when it is held. */
  get(offset: number): Buffer | Promise<Buffer> {
    const held = this.#tables.get(offset);
    if (held === undefined) return this.#loading.get(offset) ?? this.#load(offset);
    this.#tables.delete(offset);
    this.#tables.set(offset, held);
    return held;
  }

  #load(offset: number): Promise<Buffer> {
    const loading = this.#read(offset).finally(() => this.#loading.delete(offset));
    this.#loading.set(offset, loading);
    return loading;
  }

  async #read(offset: number): Promise<Buffer> {
    const table = Buffer.allocUnsafe(this.#tableBytes);
    await this.#host.read(offset, table);
    if (this.#tables.size >= this.#capacity) {
      for (const oldest of this.#tables.keys()) {
        this.#tables.delete(oldest);
        break;
      }
    }
    this.#tables.set(offset, table);
    return table;
  }
}
