import type { BlockSource, ComparedExtent, Extent } from '../../../block/index.ts';
import type { GuestRun } from '../../../qcow2/index.ts';
import type { ClusterSet } from './cluster-set.ts';

/** Bytes that are kept of clusters that were written to before they were read. */
const MOST_KEPT_BYTES = 16 * 2 ** 20;

/** What a frozen disk is read from. */
export interface FrozenParts {
  /** Its size and clusters. */
  readonly disk: { readonly size: number; readonly clusterSize: number };
  /** What has changed, and will be read; all in the overlay. */
  readonly changed: ClusterSet;
  readonly lookUp: (cluster: number) => GuestRun;
  readonly readHost: (offset: number, into: Uint8Array) => void;
  readonly relieve: () => Promise<void>;
  readonly onEnd: (isStored: boolean) => void;
}

/**
 * A disk as it was at one instant, while it is written to: of clusters that have changed before that instant, each can be read once, and only those. Whoever is about to write to one that was not
 * read yet has its bytes kept first.
 */
export class FrozenDisk implements BlockSource {
  readonly size: number;
  readonly #parts: FrozenParts;
  /** Those that were neither read nor kept. */
  readonly #pending: ClusterSet;
  /** Bytes of those that were kept; undefined for zeros. */
  readonly #kept = new Map<number, Uint8Array | undefined>();
  readonly #mostKept: number;
  #keptBytes = 0;
  #waiting: (() => void)[] = [];
  #hasEnded = false;

  constructor(parts: FrozenParts) {
    this.#parts = parts;
    this.size = parts.disk.size;
    this.#pending = parts.changed.copy();
    this.#mostKept = Math.max(1, Math.floor(MOST_KEPT_BYTES / parts.disk.clusterSize));
  }

  /** Clusters that have changed and were not read yet. */
  get left(): number {
    return this.#pending.size + this.#kept.size;
  }

  /** Bytes of clusters that have changed. */
  get changedBytes(): number {
    return this.#parts.changed.size * this.#parts.disk.clusterSize;
  }

  /** Bytes that are kept just now. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /**
   * To be called before clusters are written to.
   * @returns undefined when that can be done at once; else something that is to be waited for, and then called again
   */
  keep(first: number, end: number): Promise<void> | undefined {
    for (let cluster = first; cluster < end; cluster++) {
      if (!this.#pending.has(cluster)) continue;
      const { kind, offset } = this.#parts.lookUp(cluster);
      if (kind === 'data' && !this.#hasRoom()) return new Promise((resolve) => this.#waiting.push(resolve));
      this.#kept.set(cluster, kind === 'data' ? this.#copy(offset) : undefined);
      this.#pending.delete(cluster);
    }
    return undefined;
  }

  /** All of the disk: `same` as when it was frozen before, but for what has changed since. Zeros will not be read. */
  async *extentsSinceLast(): AsyncGenerator<ComparedExtent> {
    const { clusterSize } = this.#parts.disk;
    let at = 0;
    for (const { first, count } of this.#parts.changed.runs()) {
      if (first * clusterSize > at) yield { offset: at, length: first * clusterSize - at, kind: 'same' };
      for (let cluster = first; cluster < first + count; cluster++) {
        at = Math.min(this.size, (cluster + 1) * clusterSize);
        const kind = this.#takeZeros(cluster) ? 'zero' : 'data';
        yield { offset: cluster * clusterSize, length: at - cluster * clusterSize, kind };
        await this.#parts.relieve();
      }
    }
    if (at < this.size) yield { offset: at, length: this.size - at, kind: 'same' };
  }

  extents(): AsyncIterable<Extent> {
    throw new Error('a frozen disk is read beside another one only');
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    const { clusterSize } = this.#parts.disk;
    for (let at = 0; at < into.length; at += clusterSize)
      this.#take((offset + at) / clusterSize, into.subarray(at, at + clusterSize));
  }

  /** Lets go of what was kept; who waits goes on. @param isStored else all that has changed counts as changed still */
  end(isStored: boolean): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#kept.clear();
    this.#keptBytes = 0;
    this.#wake();
    this.#parts.onEnd(isStored);
  }

  async close(): Promise<void> {}

  #take(cluster: number, into: Uint8Array): void {
    if (this.#pending.has(cluster)) {
      const { kind, offset } = this.#parts.lookUp(cluster);
      if (kind === 'data') this.#parts.readHost(offset, into);
      else into.fill(0);
      this.#pending.delete(cluster);
      return;
    }
    if (!this.#kept.has(cluster)) throw new Error(`cluster ${cluster} was read before`);
    const bytes = this.#kept.get(cluster);
    if (bytes === undefined) into.fill(0);
    else into.set(bytes.subarray(0, into.length));
    this.#forget(cluster, bytes);
  }

  /** Whether a cluster was zeros, which it then needs not to be read for. */
  #takeZeros(cluster: number): boolean {
    const isPending = this.#pending.has(cluster);
    const isZeros = isPending
      ? this.#parts.lookUp(cluster).kind === 'zero'
      : this.#kept.get(cluster) === undefined;
    if (!isZeros) return false;
    if (isPending) this.#pending.delete(cluster);
    else this.#kept.delete(cluster);
    return true;
  }

  #forget(cluster: number, bytes: Uint8Array | undefined): void {
    this.#kept.delete(cluster);
    if (bytes === undefined) return;
    this.#keptBytes -= bytes.length;
    this.#wake();
  }

  #copy(offset: number): Uint8Array {
    const bytes = Buffer.allocUnsafeSlow(this.#parts.disk.clusterSize);
    this.#parts.readHost(offset, bytes);
    this.#keptBytes += bytes.length;
    return bytes;
  }

  #hasRoom(): boolean {
    return this.#keptBytes < this.#mostKept * this.#parts.disk.clusterSize;
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
