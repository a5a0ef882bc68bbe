import {
  ALL_SUBCLUSTERS,
  type StandardFlags,
  writeStandardEntry,
  writeSubclusterBits,
} from '../meta/l2-encode.ts';
import { EXTENDED_L2_ENTRY_BYTES, TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import type { DiskSequence } from './disk-sequence.ts';
import type { TablePart } from './disk-tables.ts';
import type { ImagePlan } from './options.ts';
import { usage } from './usage.ts';

/** Which of a cluster's 32 subclusters are what: one bit each, the first lowest. The rest is unallocated. */
export interface SubclusterBits {
  /** With bytes at their place in the host cluster. */
  readonly data: number;
  /** Reading as zeros. */
  readonly zero: number;
}

/** Enters clusters into the L2 tables of the disk that is being written, in either form of entry. */
export class ClusterEntries {
  readonly #disks: DiskSequence;
  readonly #plan: ImagePlan;
  readonly #entryBytes: number;

  constructor(disks: DiskSequence, plan: ImagePlan) {
    this.#disks = disks;
    this.#plan = plan;
    this.#entryBytes = plan.extendedL2 ? EXTENDED_L2_ENTRY_BYTES : TABLE_ENTRY_BYTES;
  }

  /**
   * The parts of a range of the present disk, which the walk then has passed.
   * @throws ImgstoreError `USAGE` when a cluster is out of order or not on the disk.
   */
  walk(cluster: number, count: number): AsyncGenerator<TablePart> {
    const tables = this.#disks.present;
    tables.advance(cluster, count);
    return tables.parts(cluster, count);
  }

  /** Enters clusters that follow each other from `offset` on, or have no place. */
  enter(part: TablePart, offset: number, flags: StandardFlags, bits: SubclusterBits): void {
    const { extendedL2, clusterSize } = this.#plan;
    const step = offset === 0 ? 0 : clusterSize;
    const first = extendedL2 ? { ...flags, zero: false } : flags;
    for (let i = 0; i < part.count; i++) {
      const at = part.at + i * this.#entryBytes;
      writeStandardEntry(part.table, at, offset + i * step, first);
      if (extendedL2) writeSubclusterBits(part.table, at, bits.data, bits.zero);
    }
  }

  /** @throws ImgstoreError `USAGE` for bits that no entry of the image can have. */
  checkBits({ data, zero }: SubclusterBits): void {
    if (!this.#plan.extendedL2) throw usage('subclusters need extended L2 entries');
    for (const bits of [data, zero]) {
      if (!Number.isInteger(bits) || bits < 0 || bits > ALL_SUBCLUSTERS) {
        throw usage(`${bits} is not one bit for each of 32 subclusters`);
      }
    }
    if ((data & zero) !== 0) throw usage('a subcluster is either data or zero');
  }
}
