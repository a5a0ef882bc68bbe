import { setImmediate } from 'node:timers/promises';
import { type BlockSource, checkRange, type Extent, type InPlaceFile, isZero } from '../../../block/index.ts';
import type { ImageUpdate } from '../../../qcow2/index.ts';
import { ClusterSet } from './cluster-set.ts';
import { FrozenDisk } from './frozen-disk.ts';
import { OverlayClusters } from './overlay-clusters.ts';
import { OverlayTables } from './overlay-tables.ts';

/** Bytes that are changed in one step, at one instant for whoever freezes the disk. */
const STEP_BYTES = 2 ** 20;
/** Steps of a long trim between which others have their turn. */
const STEPS_OF_A_TURN = 64;

/** What an overlay is made of. */
export interface OverlayParts {
  readonly file: InPlaceFile;
  /** Of a qcow2 of version 3 with a backing file, in which each cluster is unallocated, zeros or data of its own. */
  readonly update: ImageUpdate;
  /** What shows where the overlay has nothing; as large as the disk. It never changes. */
  readonly base: BlockSource;
  /** Clusters that the overlay has and that count as changed. */
  readonly changed: ClusterSet;
  /** Called when the tables are in the file, after each time that they were written. */
  readonly onApplied?: () => Promise<void>;
}

/** Clusters that a step changes. */
interface StepClusters {
  readonly first: number;
  readonly end: number;
  /** Asked before each try. */
  readonly changesTables: () => boolean;
}

/**
 * A disk that is read from and written to a qcow2 overlay, on a base that never changes.
 *
 * The file is a whole image at any instant: data and refcounts go before what leads to them. What was written since the last {@link OverlayDisk.flush} may be lost when the
 * process is killed. A cluster that has entered the overlay never leaves it; one that was trimmed reads as zeros.
 *
 * Writes are done in steps, each without a wait in it: so nothing needs a lock. What a step needs from elsewhere, the rest of a cluster that is written for the first time, is
 * fetched before, and of no use if somebody else has placed the cluster meanwhile.
 */
export class OverlayDisk implements BlockSource {
  readonly size: number;
  readonly clusterSize: number;
  readonly #file: InPlaceFile;
  readonly #update: ImageUpdate;
  readonly #base: BlockSource;
  readonly #clusters: OverlayClusters;
  readonly #tables: OverlayTables;
  #changed: ClusterSet;
  #frozen: FrozenDisk | undefined;

  constructor({ file, update, base, changed, onApplied }: OverlayParts) {
    this.#file = file;
    this.#update = update;
    this.#base = base;
    this.#changed = changed;
    this.#clusters = new OverlayClusters(update, base.size, file.path);
    this.#tables = new OverlayTables({ file, update, onApplied: onApplied ?? (async () => {}) });
    this.size = base.size;
    this.clusterSize = update.clusterSize;
  }

  /** Bytes of clusters that were written, zeroed or trimmed since the disk was last frozen for good. */
  get changedBytes(): number {
    return (this.#changed.size + (this.#frozen?.left ?? 0)) * this.clusterSize;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    const end = offset + into.length;
    for (let at = offset; at < end; ) {
      const run = this.#clusters.runAt(at, end);
      const part = into.subarray(at - offset, run.end - offset);
      if (run.kind === 'unallocated') await this.#base.read(at, part);
      else if (run.kind === 'zero') part.fill(0);
      else this.#file.read(run.offset + (at % this.clusterSize), part);
      at = run.end;
      await this.#tables.relieve().catch(() => {});
    }
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const { kind, end: runEnd } = this.#clusters.runAt(at, end);
      if (kind === 'unallocated') yield* this.#base.extents(at, runEnd - at);
      else yield { offset: at, length: runEnd - at, kind };
      at = runEnd;
      await this.#tables.relieve().catch(() => {});
    }
  }

  /** @throws ImgstoreError `IO`; parts of the range may have been written then */
  async write(offset: number, bytes: Uint8Array): Promise<void> {
    checkRange(this.size, offset, bytes.length);
    const end = offset + bytes.length;
    for (let at = offset; at < end; ) {
      const stepEnd = Math.min(end, this.#stepEnd(at));
      await this.#writeStep(at, bytes.subarray(at - offset, stepEnd - offset));
      at = stepEnd;
      await this.#tables.relieve();
    }
  }

  /** Makes a range zeros: whole clusters without a write of them. @throws ImgstoreError `IO` */
  async zero(offset: number, length: number): Promise<void> {
    checkRange(this.size, offset, length);
    const { clusterSize } = this;
    const end = offset + length;
    const [first, last] = [Math.ceil(offset / clusterSize), this.#clusters.wholeBefore(end)];
    if (first >= last) {
      const middle = Math.min(end, first * clusterSize);
      await this.#zeroPart(offset, middle);
      return await this.#zeroPart(middle, end);
    }
    await this.#zeroPart(offset, first * clusterSize);
    await this.#zeroClusters(first, last);
    await this.#zeroPart(Math.min(end, last * clusterSize), end);
  }

  /**
   * Waits until all that was done before would outlast a failure of the power.
   * @throws ImgstoreError `IO`; after a failure of the device nothing is written any more
   */
  async flush(): Promise<void> {
    this.#clusters.refuseClosed();
    await this.#tables.flush();
  }

  /**
   * The disk as it is at this instant, with what has changed since it was frozen before. There is one at a time: `end` must be called.
   */
  freeze(): FrozenDisk {
    if (this.#frozen !== undefined) throw new Error('the disk is frozen already');
    const changed = this.#changed;
    this.#changed = new ClusterSet();
    this.#frozen = new FrozenDisk({
      disk: this,
      changed,
      lookUp: (cluster) => this.#clusters.lookUp(cluster),
      readHost: (at, into) => this.#file.read(at, into),
      relieve: () => this.#tables.relieve().catch(() => {}),
      onEnd: (isStored) => {
        this.#frozen = undefined;
        if (isStored) return;
        changed.addAll(this.#changed);
        this.#changed = changed;
      },
    });
    return this.#frozen;
  }

  /** Flushes and gives the file back. @throws ImgstoreError `IO` when what was written last is not in it */
  async close(): Promise<void> {
    if (this.#clusters.isClosed) return;
    this.#clusters.close();
    try {
      if (!this.#tables.hasFailed) await this.#tables.flush();
    } finally {
      await this.#tables.written;
      await this.#file.close();
    }
  }

  async #writeStep(offset: number, bytes: Uint8Array): Promise<void> {
    const { clusterSize } = this;
    const end = offset + bytes.length;
    const [first, last] = [Math.floor(offset / clusterSize), Math.ceil(end / clusterSize)];
    const below = new Map<number, Uint8Array>();
    for (const cluster of new Set([first, last - 1])) {
      const isWhole = offset <= cluster * clusterSize && this.#clusters.endOf(cluster) <= end;
      if (!isWhole && this.#clusters.lookUp(cluster).kind === 'unallocated')
        below.set(cluster, await this.#baseCluster(cluster));
    }
    const changesTables = () => this.#clusters.isAnyPlaceless(first, last);
    await this.#ready({ first, end: last, changesTables }, () => {
      for (let cluster = first; cluster < last; cluster++) {
        const from = Math.max(offset, cluster * clusterSize);
        const part = bytes.subarray(from - offset, Math.min(end, (cluster + 1) * clusterSize) - offset);
        this.#writeCluster(cluster, from % clusterSize, part, below.get(cluster));
      }
    });
  }

  /** @param below what shows where the cluster is not written to, if it is unallocated; zeros when not given */
  #writeCluster(cluster: number, within: number, part: Uint8Array, below: Uint8Array | undefined): void {
    const isNew = this.#clusters.lookUp(cluster).kind !== 'data';
    let bytes = part;
    let from = within;
    if (isNew && part.length < this.clusterSize) {
      const isUnallocated = this.#clusters.lookUp(cluster).kind === 'unallocated';
      bytes = Buffer.alloc(this.clusterSize);
      if (isUnallocated && below !== undefined) bytes.set(below);
      bytes.set(part, within);
      from = 0;
    }
    const place = () => this.#update.place(cluster, ({ offset }) => this.#file.write(offset + from, bytes));
    this.#tables.change(place, { changesTables: isNew, bytes: bytes.length });
    this.#changed.add(cluster);
  }

  /** A part of one cluster. */
  async #zeroPart(offset: number, end: number): Promise<void> {
    if (end <= offset) return;
    const { kind } = this.#clusters.lookUp(Math.floor(offset / this.clusterSize));
    if (kind === 'zero') return;
    const part = Buffer.alloc(end - offset);
    if (kind === 'unallocated') {
      await this.#base.read(offset, part);
      if (isZero(part)) return;
      part.fill(0);
    }
    await this.#writeStep(offset, part);
    await this.#tables.relieve();
  }

  /** Whole clusters. Those that are holes in the base are left unallocated, so that a trim of an empty disk makes no tables. */
  async #zeroClusters(first: number, end: number): Promise<void> {
    const { clusterSize } = this;
    const from = first * clusterSize;
    let next = first;
    for await (const { offset, length, kind } of this.#base.extents(
      from,
      Math.min(this.size, end * clusterSize) - from,
    )) {
      if (kind === 'data') continue;
      const holeFirst = Math.max(next, Math.ceil(offset / clusterSize));
      const holeEnd = this.#clusters.wholeBefore(offset + length);
      if (holeEnd <= holeFirst) continue;
      await this.#zeroRun(next, holeFirst, false);
      await this.#zeroRun(holeFirst, holeEnd, true);
      next = holeEnd;
    }
    await this.#zeroRun(next, end, false);
  }

  async #zeroRun(first: number, end: number, isHoleBelow: boolean): Promise<void> {
    let steps = 0;
    for (let cluster = first; cluster < end; ) {
      const run = this.#clusters.lookUp(cluster, end - cluster);
      const stepEnd = Math.min(end, cluster + Math.max(1, Math.floor(STEP_BYTES / this.clusterSize)));
      if (run.kind === 'zero' || (run.kind === 'unallocated' && isHoleBelow)) {
        cluster += run.count;
      } else {
        const from = cluster;
        await this.#ready({ first: from, end: stepEnd, changesTables: () => true }, () => {
          for (let each = from; each < stepEnd; each++) this.#zeroCluster(each, isHoleBelow);
        });
        cluster = stepEnd;
      }
      await this.#tables.relieve();
      if (++steps % STEPS_OF_A_TURN === 0) await setImmediate();
    }
  }

  #zeroCluster(cluster: number, isHoleBelow: boolean): void {
    const { kind } = this.#clusters.lookUp(cluster);
    if (kind === 'zero' || (kind === 'unallocated' && isHoleBelow)) return;
    this.#tables.change(() => this.#update.zero(cluster), { changesTables: true, bytes: 0 });
    this.#changed.add(cluster);
  }

  /** Runs a step, in which nothing is waited for, when it can be done: what a frozen disk needs of the clusters is kept, and no tables are being written that must change. */
  async #ready({ first, end, changesTables }: StepClusters, step: () => void): Promise<void> {
    for (;;) {
      this.#tables.refuseFailed();
      const wait = (changesTables() ? this.#tables.written : undefined) ?? this.#frozen?.keep(first, end);
      if (wait === undefined) return step();
      await wait;
    }
  }

  async #baseCluster(cluster: number): Promise<Uint8Array> {
    const offset = cluster * this.clusterSize;
    const bytes = Buffer.alloc(this.#clusters.endOf(cluster) - offset);
    await this.#base.read(offset, bytes);
    return bytes;
  }

  #stepEnd(at: number): number {
    const step = Math.max(STEP_BYTES, this.clusterSize);
    return at - (at % step) + step;
  }
}
