import { ImgstoreError } from '../../../errors/index.ts';
import { clusterCount } from '../../../objects/index.ts';
import type { GuestRun, ImageUpdate } from '../../../qcow2/index.ts';

/** A run of clusters, of which there are three kinds in an overlay. */
export type KnownRun = GuestRun & { readonly kind: Exclude<GuestRun['kind'], 'other'> };

/** The clusters of a disk on an overlay: how they are, and where they lie on the disk. */
export class OverlayClusters {
  /** Bytes of the disk. */
  readonly size: number;
  readonly clusterSize: number;
  readonly #update: ImageUpdate;
  readonly #path: string;
  #isClosed = false;

  /** @param path of the overlay, for errors */
  constructor(update: ImageUpdate, size: number, path: string) {
    this.#update = update;
    this.size = size;
    this.clusterSize = update.clusterSize;
    this.#path = path;
  }

  /** From now on nobody may look. */
  close(): void {
    this.#isClosed = true;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** @throws ImgstoreError `IN_USE` when the disk is closed */
  refuseClosed(): void {
    if (!this.#isClosed) return;
    const message = `${this.#path}: the session was closed: connect again`;
    throw new ImgstoreError('IN_USE', message, { path: this.#path });
  }

  /** What clusters are from one on, as long as they are alike. @throws ImgstoreError `IN_USE` when the disk is closed */
  lookUp(cluster: number, most = 1): KnownRun {
    this.refuseClosed();
    const { kind, offset, count } = this.#update.lookUp(cluster, most);
    if (kind !== 'other') return { kind, offset, count };
    const path = this.#path;
    throw new ImgstoreError('BAD_IMAGE', `${path}: was changed by somebody else meanwhile`, { path });
  }

  /** How the disk is from a byte on, until it is otherwise. */
  runAt(at: number, end: number): KnownRun & { readonly end: number } {
    const { clusterSize } = this;
    const cluster = Math.floor(at / clusterSize);
    const run = this.lookUp(cluster, Math.ceil(end / clusterSize) - cluster);
    return { ...run, end: Math.min(end, (cluster + run.count) * clusterSize) };
  }

  /** Whether any of the clusters has no place in the file that can be written to. */
  isAnyPlaceless(first: number, end: number): boolean {
    for (let cluster = first; cluster < end; ) {
      const { kind, count } = this.lookUp(cluster, end - cluster);
      if (kind !== 'data') return true;
      cluster += count;
    }
    return false;
  }

  /** The byte at which a cluster ends: the last one with the disk. */
  endOf(cluster: number): number {
    return Math.min(this.size, (cluster + 1) * this.clusterSize);
  }

  /** The number of whole clusters before a byte; the last cluster of the disk is whole when the disk ends in it. */
  wholeBefore(end: number): number {
    return end === this.size ? clusterCount(end, this.clusterSize) : Math.floor(end / this.clusterSize);
  }
}
