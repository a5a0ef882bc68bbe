import type { WriteTarget } from '../../block/index.ts';
import { type Geometry, geometryOf } from '../meta/geometry.ts';
import { copiedEntry } from '../meta/l2-entry.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import type { HostSpace } from './host-space.ts';
import { type ImagePlan, l1EntriesFor } from './options.ts';
import { writeSparse } from './sparse-write.ts';
import { usage } from './usage.ts';

/** Guest clusters of one L2 table, to be entered. */
export interface TablePart {
  readonly table: Buffer;
  /** Guest cluster of the first entry. */
  readonly cluster: number;
  readonly count: number;
  /** Byte of the first entry in the table. */
  readonly at: number;
}

/** The L1 table and the L2 tables of one disk of an image, walked in ascending order of guest clusters. */
export class DiskTables {
  /** Bytes. */
  readonly virtualSize: number;
  readonly l1Entries: number;
  readonly #target: WriteTarget;
  readonly #space: HostSpace;
  readonly #geometry: Geometry;
  readonly #guestClusters: number;
  readonly #l1: Buffer;
  /** The table that the walk is in; written when it is passed. */
  #l2: { readonly index: number; readonly offset: number; readonly bytes: Buffer } | undefined;
  /** The least guest cluster that may come next. */
  #next = 0;

  /** @param virtualSize of this disk, in whole sectors. @throws ImgstoreError `USAGE` for a disk that is too large. */
  constructor(target: WriteTarget, space: HostSpace, plan: ImagePlan, virtualSize: number) {
    this.#target = target;
    this.#space = space;
    this.#geometry = geometryOf(Math.log2(plan.clusterSize), plan.extendedL2);
    this.virtualSize = virtualSize;
    this.#guestClusters = Math.ceil(virtualSize / plan.clusterSize);
    this.l1Entries = l1EntriesFor(plan, virtualSize);
    this.#l1 = Buffer.alloc(this.l1Entries * TABLE_ENTRY_BYTES);
  }

  /** Nothing was entered yet. */
  get untouched(): boolean {
    return this.#next === 0;
  }

  /** Moves the walk behind `count` clusters. @throws ImgstoreError `USAGE` when they are out of order or not on the disk. */
  advance(cluster: number, count: number): void {
    const end = cluster + count;
    if (
      !Number.isSafeInteger(cluster) ||
      !Number.isSafeInteger(count) ||
      count < 0 ||
      end > this.#guestClusters
    ) {
      throw usage(`clusters ${cluster}+${count} are not on a disk of ${this.#guestClusters} clusters`);
    }
    if (cluster < this.#next) throw usage(`cluster ${cluster} comes after cluster ${this.#next - 1}`);
    this.#next = end;
  }

  /** The parts of the range that lie in one L2 table each; what is entered in one must be done before the next. */
  async *parts(cluster: number, count: number): AsyncGenerator<TablePart> {
    const { l2Entries, l2EntryBytes } = this.#geometry;
    for (let first = cluster; first < cluster + count; ) {
      const from = first % l2Entries;
      const length = Math.min(l2Entries - from, cluster + count - first);
      const table = await this.#table(Math.floor(first / l2Entries));
      yield { table, cluster: first, count: length, at: from * l2EntryBytes };
      first += length;
    }
  }

  /** Writes what is not written yet, the L1 table last. @returns the L1 table's host offset. */
  async finish(): Promise<number> {
    await this.#flush();
    const offset = this.#space.take(Math.ceil(this.#l1.length / this.#space.clusterSize));
    await writeSparse(this.#target, offset, this.#l1);
    return offset;
  }

  async #table(index: number): Promise<Buffer> {
    if (this.#l2?.index === index) return this.#l2.bytes;
    await this.#flush();
    const offset = this.#space.take(1);
    const bytes = Buffer.alloc(this.#space.clusterSize);
    this.#l2 = { index, offset, bytes };
    this.#l1.writeBigUInt64BE(copiedEntry(offset), index * TABLE_ENTRY_BYTES);
    return bytes;
  }

  async #flush(): Promise<void> {
    if (this.#l2 === undefined) return;
    const { offset, bytes } = this.#l2;
    this.#l2 = undefined;
    await this.#target.write(offset, bytes);
  }
}
