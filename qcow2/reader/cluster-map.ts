import { badImage } from '../meta/fault.ts';
import { entryOffset } from '../meta/l2-entry.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import { placelessRun, type Run, runInTable, type TableRules } from './run.ts';
import type { TableCache } from './table-cache.ts';

/** From guest offsets to host ranges, through the L1 table (held whole, at most 32 MiB) and cached L2 tables. */
export class ClusterMap {
  readonly #rules: TableRules;
  readonly #l1: Buffer;
  readonly #tables: TableCache;

  /** @param l1 at least the entries that the disk needs. */
  constructor(rules: TableRules, l1: Buffer, tables: TableCache) {
    this.#rules = rules;
    this.#l1 = l1;
    this.#tables = tables;
  }

  /**
   * The run that begins at `guest` and ends at `end` or before; a promise only when a table must be read first.
   * Both lie on the disk, and `guest` < `end`.
   * @throws ImgstoreError `BAD_IMAGE` for a table entry that no image may have.
   */
  runAt(guest: number, end: number): Run | Promise<Run> {
    const { l2Span } = this.#rules.geometry;
    const index = Math.floor(guest / l2Span);
    const table = this.#tableOffset(index);
    if (table === 0) {
      let next = index + 1;
      while (next * l2Span < end && this.#tableOffset(next) === 0) next++;
      return placelessRun('unallocated', Math.min(next * l2Span, end) - guest);
    }
    this.#checkTable(index, table);
    const limit = Math.min((index + 1) * l2Span, end);
    const bytes = this.#tables.get(table);
    return bytes instanceof Promise
      ? bytes.then((loaded) => runInTable(this.#rules, loaded, guest, limit))
      : runInTable(this.#rules, bytes, guest, limit);
  }

  /**
   * Where it stops that two maps of one image name the same L2 tables from `guest` on, at `end` or before: internal snapshots share those in which nothing was
   * written since. `guest` itself when they differ there.
   */
  sharedUntil(other: ClusterMap, guest: number, end: number): number {
    const { l2Span } = this.#rules.geometry;
    let index = Math.floor(guest / l2Span);
    while (index * l2Span < end && this.#tableOffset(index) === other.#tableOffset(index)) index++;
    return Math.max(guest, Math.min(index * l2Span, end));
  }

  #tableOffset(index: number): number {
    const at = index * TABLE_ENTRY_BYTES;
    return entryOffset(this.#l1.readUInt32BE(at), this.#l1.readUInt32BE(at + 4));
  }

  #checkTable(index: number, offset: number): void {
    const { clusterSize } = this.#rules.geometry;
    const why =
      offset % clusterSize !== 0
        ? `is not a multiple of ${clusterSize}`
        : offset > this.#tables.hostSize - clusterSize
          ? `leaves the file of ${this.#tables.hostSize} bytes: is the file cut off?`
          : undefined;
    if (why === undefined) return;
    throw badImage(this.#rules.image, `the L2 table of L1 entry ${index} at offset ${offset} ${why}`, {
      field: 'l1 entry',
      index,
      offset,
    });
  }
}
