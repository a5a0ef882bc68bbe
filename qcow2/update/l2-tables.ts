import type { InPlaceFile } from '../../block/index.ts';
import type { Geometry } from '../meta/geometry.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { copiedEntry, entryOffset } from '../meta/l2-entry.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import { usedL1Bytes } from '../reader/l1-table.ts';
import type { Refcounts } from './refcounts.ts';

const HIGH_COPIED = 0x8000_0000;

/** An L2 table at hand. */
export interface L2Table {
  readonly bytes: Buffer;
  /** Where it lies or will lie; 0 for one that no entry is in yet. */
  offset: number;
  /** The L1 entry must lead to another place than it does. */
  isMoved: boolean;
  /** The part that is to be written; empty when nothing has changed. */
  changed: { from: number; to: number };
}

/**
 * The L2 tables of the present disk that are being changed, until they are written. A table that snapshots share is written to a place of its own.
 */
export class L2Tables {
  readonly #file: InPlaceFile;
  readonly #geometry: Geometry;
  readonly #refcounts: Refcounts;
  readonly #l1Offset: number;
  readonly #l1: Buffer;
  readonly #held = new Map<number, L2Table>();

  constructor(file: InPlaceFile, header: Qcow2Header, geometry: Geometry, refcounts: Refcounts) {
    this.#file = file;
    this.#geometry = geometry;
    this.#refcounts = refcounts;
    this.#l1Offset = header.l1Offset;
    this.#l1 = Buffer.alloc(usedL1Bytes(header));
    file.read(this.#l1Offset, this.#l1);
  }

  /** Bytes of tables at hand. */
  get heldBytes(): number {
    return this.#held.size * this.#geometry.clusterSize;
  }

  /** The table of an L1 entry, as it is; undefined when there is none. */
  find(index: number): L2Table | undefined {
    return this.#held.get(index) ?? (this.#offset(index) === 0 ? undefined : this.get(index));
  }

  /** The table of an L1 entry, as it is; zeros for one that is not there. */
  get(index: number): L2Table {
    const held = this.#held.get(index);
    if (held !== undefined) return held;
    const offset = this.#offset(index);
    const table: L2Table = {
      bytes: Buffer.alloc(this.#geometry.clusterSize),
      offset,
      isMoved: false,
      changed: { from: 0, to: 0 },
    };
    if (offset !== 0) this.#file.read(offset, table.bytes);
    this.#held.set(index, table);
    return table;
  }

  /**
   * Notes that an entry of a table changes.
   * @param at byte of the table. @param onReleased told the host offset of a table that this one takes the place of
   */
  change(index: number, at: number, onReleased: (offset: number) => void): void {
    const table = this.get(index);
    if (!table.isMoved && !this.#isOwn(index)) {
      if (table.offset !== 0) onReleased(table.offset);
      table.offset = this.#refcounts.take().offset;
      table.isMoved = true;
      table.changed = { from: 0, to: table.bytes.length };
    }
    const { from, to } = table.changed;
    const end = at + this.#geometry.l2EntryBytes;
    table.changed = from === to ? { from: at, to: end } : { from: Math.min(from, at), to: Math.max(to, end) };
  }

  /** Writes what has changed, tables before what leads to them, and lets go of all. @throws ImgstoreError `IO` */
  async write(): Promise<void> {
    const moved: number[] = [];
    for (const [index, { bytes, offset, changed, isMoved }] of this.#held) {
      const { from, to } = changed;
      if (to > from) this.#file.write(offset + from, bytes.subarray(from, to));
      if (isMoved) moved.push(index);
    }
    if (moved.length > 0) await this.#file.sync();
    for (const index of moved) {
      const at = index * TABLE_ENTRY_BYTES;
      this.#l1.writeBigUInt64BE(copiedEntry(this.#held.get(index)!.offset), at);
      this.#file.write(this.#l1Offset + at, this.#l1.subarray(at, at + TABLE_ENTRY_BYTES));
    }
    this.#held.clear();
  }

  /** Whether the table in the file is there, and no snapshot's too. */
  #isOwn(index: number): boolean {
    return (
      this.#offset(index) !== 0 && (this.#l1.readUInt32BE(index * TABLE_ENTRY_BYTES) & HIGH_COPIED) !== 0
    );
  }

  #offset(index: number): number {
    const at = index * TABLE_ENTRY_BYTES;
    return entryOffset(this.#l1.readUInt32BE(at), this.#l1.readUInt32BE(at + 4));
  }
}
