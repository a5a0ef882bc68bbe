import type { Geometry } from '../meta/geometry.ts';
import { entryOffset } from '../meta/l2-entry.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import type { ClusterCounts } from './cluster-counts.ts';
import { entryText, hasL1ReservedBits } from './entry-bits.ts';
import type { Findings } from './findings.ts';
import type { HostTables } from './host-tables.ts';
import type { L2Check } from './l2-check.ts';
import type { References } from './references.ts';

/** An L1 table: the active one or a snapshot's. */
export interface L1Place {
  readonly offset: number;
  readonly entries: number;
  readonly active: boolean;
  /** For people: `the L1 table`. */
  readonly name: string;
}

/**
 * Walks L1 tables and the L2 tables behind them.
 *
 * Snapshots share most L2 tables with the active disk and with each other, so L1 tables only note which L2 tables
 * they use; {@link L1Walk.walkTables} then reads each once, in the order of the file.
 */
export class L1Walk {
  readonly #tables: HostTables;
  readonly #geometry: Geometry;
  readonly #references: References;
  readonly #findings: Findings;
  /** Uses of L2 tables by the cluster that they fill. */
  readonly #uses: ClusterCounts;
  readonly #activeUses: ClusterCounts;

  constructor(
    tables: HostTables,
    geometry: Geometry,
    references: References,
    findings: Findings,
    newCounts: () => ClusterCounts,
  ) {
    this.#tables = tables;
    this.#geometry = geometry;
    this.#references = references;
    this.#findings = findings;
    this.#uses = newCounts();
    this.#activeUses = newCounts();
  }

  /** Counts the table's own clusters and those of its L2 tables. */
  async readL1({ offset, entries, active, name }: L1Place): Promise<void> {
    const { clusterSize } = this.#geometry;
    const bytes = entries * TABLE_ENTRY_BYTES;
    this.#references.add(offset, bytes, () => name);
    await eachL1Entry(this.#tables, offset, bytes, (index, high, low) => {
      const what = () => `entry ${index} of ${name}, ${entryText(high, low)},`;
      const bad = (why: string) => {
        this.#findings.add('corruption', offset + index * TABLE_ENTRY_BYTES, () => `${what()} ${why}`);
      };
      if (hasL1ReservedBits(high, low)) bad('has reserved bits set');
      const table = entryOffset(high, low);
      const inFile = this.#references.add(table, clusterSize, () => `the L2 table of ${what()}`);
      if (table % clusterSize !== 0) {
        // QEMU goes on and reads a table from there. Whatever that says, the image is corrupt.
        bad(`has an offset that is not a multiple of ${clusterSize}`);
      } else if (inFile) {
        this.#uses.add(table / clusterSize, 1);
        if (active) this.#activeUses.add(table / clusterSize, 1);
      }
    });
  }

  /** Checks every L2 table that was noted. */
  async walkTables(check: L2Check): Promise<void> {
    for await (const { cluster, offset, table } of l2Tables(this.#tables, this.#uses, this.#geometry)) {
      check.check(table, {
        offset,
        uses: this.#uses.get(cluster),
        activeUses: this.#activeUses.get(cluster),
      });
    }
  }

  /** The L2 tables of the active disk, each once, with how many L1 entries use it. */
  async *activeTables(): AsyncIterable<{ offset: number; table: Buffer; uses: number }> {
    for await (const { cluster, offset, table } of l2Tables(this.#tables, this.#activeUses, this.#geometry)) {
      yield { offset, table, uses: this.#activeUses.get(cluster) };
    }
  }
}

/** Calls `visit` for entries of an L1 table that are not zero; what lies beyond the file's end is. */
export async function eachL1Entry(
  tables: HostTables,
  offset: number,
  bytes: number,
  visit: (index: number, high: number, low: number) => void,
): Promise<void> {
  let first = 0;
  for await (const piece of tables.pieces(offset, bytes)) {
    for (let at = 0; at < piece.length; at += TABLE_ENTRY_BYTES) {
      const high = piece.readUInt32BE(at);
      const low = piece.readUInt32BE(at + 4);
      if (high !== 0 || low !== 0) visit(first + at / TABLE_ENTRY_BYTES, high, low);
    }
    first += piece.length / TABLE_ENTRY_BYTES;
  }
}

/** Tables at the counted clusters, ascending, without those that lie in holes of the file: they are all zeros. */
async function* l2Tables(
  tables: HostTables,
  counted: ClusterCounts,
  { clusterSize }: Geometry,
): AsyncIterable<{ cluster: number; offset: number; table: Buffer }> {
  const finder = tables.dataFinder();
  for (const cluster of counted.clusters()) {
    const offset = cluster * clusterSize;
    const found = finder.hasData(offset, clusterSize);
    if (!(found instanceof Promise ? await found : found)) continue;
    yield { cluster, offset, table: await tables.table(offset, clusterSize) };
  }
}
