import type { Geometry } from '../meta/geometry.ts';
import { compressedRange, entryOffset, extendedKind, standardKind } from '../meta/l2-entry.ts';
import { entryText, hasL2ReservedBits, isCopied, isZeroFlagged } from './entry-bits.ts';
import type { Findings } from './findings.ts';
import type { References } from './references.ts';

/** Guest clusters of the active disk by how they lie in the file; a snapshot's are not counted. */
export interface Allocation {
  allocated: number;
  /** Not where the cluster before it ends; compressed clusters always count as such. */
  fragmented: number;
  compressed: number;
}

/** How an L2 table is referred to. */
export interface TableUse {
  /** Host offset of the table. */
  readonly offset: number;
  /** L1 entries that point at it, of the active table and of all snapshots. */
  readonly uses: number;
  /** Those of the active table. */
  readonly activeUses: number;
}

/** What an L2 table's entry gives a cluster in the host file; `placed` includes zeros that keep a place. */
export type EntryKind = 'compressed' | 'placed' | 'zero' | 'unallocated';

/**
 * Kind of an entry as a refcount check needs it.
 *
 * QEMU takes the zero flag in version 2 too, which the specification reserves there; so do we, as no reader is
 * given anything but an error for it.
 */
export function entryKind(high: number, low: number, extended: boolean, externalData: boolean): EntryKind {
  const kind = extended ? extendedKind(high, low, externalData) : standardKind(high, low, externalData);
  if (kind === 'data') return 'placed';
  return kind === 'zero' && entryOffset(high, low) !== 0 ? 'placed' : kind;
}

/** Checks the entries of L2 tables and counts what they refer to. */
export class L2Check {
  readonly #geometry: Geometry;
  readonly #externalData: boolean;
  readonly #references: References;
  readonly #findings: Findings;
  readonly allocation: Allocation = { allocated: 0, fragmented: 0, compressed: 0 };

  /** @param externalData guest clusters are in another file, which has no refcounts. */
  constructor(geometry: Geometry, externalData: boolean, references: References, findings: Findings) {
    this.#geometry = geometry;
    this.#externalData = externalData;
    this.#references = references;
    this.#findings = findings;
  }

  /** Counts for each use of the table; it is walked once, however many there are. @param table one cluster. */
  check(table: Buffer, use: TableUse): void {
    const { l2EntryBytes, extendedL2 } = this.#geometry;
    let next = 0;
    for (let at = 0; at < table.length; at += l2EntryBytes) {
      const high = table.readUInt32BE(at);
      const low = table.readUInt32BE(at + 4);
      const zeros = extendedL2 ? table.readUInt32BE(at + 8) : 0;
      const allocated = extendedL2 ? table.readUInt32BE(at + 12) : 0;
      if (high === 0 && low === 0 && allocated === 0) continue;
      const bad = (why: string) => {
        this.#findings.add(
          'corruption',
          use.offset + at,
          () =>
            `entry ${at / l2EntryBytes} of the L2 table at offset ${use.offset}, ${entryText(high, low)}, ${why}`,
          use.uses,
        );
      };
      const kind = entryKind(high, low, extendedL2, this.#externalData);
      if (kind === 'compressed') {
        this.#compressed(high, low, zeros !== 0 || allocated !== 0, use, bad);
        continue;
      }
      if (hasL2ReservedBits(high, low)) bad('has reserved bits set');
      if (kind === 'placed') {
        if ((zeros & allocated) !== 0) bad('has subclusters that are both allocated and zero');
        next = this.#placed(high, low, extendedL2 ? allocated !== 0 : !isZeroFlagged(low), next, use, bad);
      } else if (allocated !== 0) {
        bad('has allocated subclusters but no place in the file');
      }
    }
  }

  #compressed(
    high: number,
    low: number,
    hasSubclusters: boolean,
    use: TableUse,
    bad: (why: string) => void,
  ): void {
    if (isCopied(high)) bad('is compressed but has the copied flag');
    if (this.#externalData || hasSubclusters) {
      bad(
        this.#externalData
          ? 'is compressed in an image with an external data file'
          : 'is compressed but has subcluster bits',
      );
      return;
    }
    const { offset, length } = compressedRange(high, low, this.#geometry.clusterBits);
    this.#references.add(
      offset,
      length,
      () => `the compressed cluster of ${entryText(high, low)} in the L2 table at offset ${use.offset}`,
      use.uses,
    );
    this.allocation.allocated += use.activeUses;
    this.allocation.fragmented += use.activeUses;
    this.allocation.compressed += use.activeUses;
  }

  /** @param next where the next cluster should lie to follow the last, 0 for anywhere. @returns the same after it. */
  #placed(
    high: number,
    low: number,
    hasData: boolean,
    next: number,
    use: TableUse,
    bad: (why: string) => void,
  ): number {
    const { clusterSize } = this.#geometry;
    const offset = entryOffset(high, low);
    if (offset % clusterSize !== 0) {
      bad(`${hasData ? 'puts data' : 'keeps a place'} at an offset that is not a multiple of ${clusterSize}`);
    }
    this.allocation.allocated += use.activeUses;
    if (next !== 0 && offset !== next) this.allocation.fragmented += use.activeUses;
    if (!this.#externalData) {
      this.#references.add(
        offset,
        clusterSize,
        () => `the cluster of ${entryText(high, low)} in the L2 table at offset ${use.offset}`,
        use.uses,
      );
    }
    return offset + clusterSize;
  }
}
