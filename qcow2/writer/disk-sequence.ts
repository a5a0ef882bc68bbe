import type { WriteTarget } from '../../block/index.ts';
import { DiskTables } from './disk-tables.ts';
import type { HostSpace } from './host-space.ts';
import { type ImagePlan, wholeSectors } from './options.ts';
import { SnapshotList, type SnapshotOptions } from './snapshot-list.ts';
import { usage } from './usage.ts';

/** Where the disks' tables are, once all are written. */
export interface FinishedDisks {
  /** Host offset of the active disk's L1 table, in bytes. */
  readonly l1Offset: number;
  /** The snapshot table; empty without snapshots. */
  readonly snapshotTable: Buffer;
}

/** The disks of an image in the order in which they are written: those of its snapshots, then the active one. */
export class DiskSequence {
  readonly active: DiskTables;
  readonly #target: WriteTarget;
  readonly #space: HostSpace;
  readonly #plan: ImagePlan;
  readonly #snapshots = new SnapshotList();
  /** The snapshot that is being written, if it is not the active disk. */
  #snapshot: { readonly options: SnapshotOptions; readonly tables: DiskTables } | undefined;
  #activeFrom: number;

  /** @throws ImgstoreError `USAGE` for a disk that is too large. */
  constructor(target: WriteTarget, space: HostSpace, plan: ImagePlan) {
    this.#target = target;
    this.#space = space;
    this.#plan = plan;
    this.active = new DiskTables(target, space, plan, plan.virtualSize);
    this.#activeFrom = space.end;
  }

  /** The tables of the disk that is being written. */
  get present(): DiskTables {
    return this.#snapshot?.tables ?? this.active;
  }

  /** The disk that is being written is the active one: what it allocates is used once and stays so. */
  get isActive(): boolean {
    return this.#snapshot === undefined;
  }

  /** Host bytes from here on were handed out for the active disk, if that has begun. */
  get activeFrom(): number {
    return this.#activeFrom;
  }

  get snapshotCount(): number {
    return this.#snapshots.count;
  }

  /** @throws ImgstoreError `USAGE` once the active disk has begun, or for a size that the version does not have. */
  async beginSnapshot(options: SnapshotOptions): Promise<void> {
    const activeBegun = this.#snapshot === undefined && this.#snapshots.count > 0;
    if (!this.active.untouched || activeBegun) throw usage('snapshots come before the active disk');
    const { version, virtualSize } = this.#plan;
    const size = options.virtualSize === undefined ? virtualSize : wholeSectors(options.virtualSize);
    if (version === 2 && size !== virtualSize) {
      throw usage("version 0.10 has snapshots of the active disk's size only: QEMU applies no others");
    }
    const tables = new DiskTables(this.#target, this.#space, this.#plan, size);
    this.#snapshots.admit(options);
    await this.#endSnapshot();
    this.#snapshot = { options, tables };
  }

  async beginActive(): Promise<void> {
    if (this.#snapshot === undefined) return;
    await this.#endSnapshot();
    this.#activeFrom = this.#space.end;
  }

  /** Writes what is left of the active disk's tables. */
  async finish(): Promise<FinishedDisks> {
    return { l1Offset: await this.active.finish(), snapshotTable: this.#snapshots.encode() };
  }

  async #endSnapshot(): Promise<void> {
    if (this.#snapshot === undefined) return;
    const { options, tables } = this.#snapshot;
    this.#snapshot = undefined;
    const l1Offset = await tables.finish();
    this.#snapshots.add(options, l1Offset, tables.l1Entries, tables.virtualSize);
  }
}
