import type { Geometry } from '../meta/geometry.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { entryOffset } from '../meta/l2-entry.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import type { ClusterCounts } from './cluster-counts.ts';
import { entryText, isCopied } from './entry-bits.ts';
import type { Findings } from './findings.ts';
import type { HostTables } from './host-tables.ts';
import { type L1Walk, l1Entries } from './l1-walk.ts';
import { entryKind } from './l2-check.ts';

/**
 * Checks the copied flags of the active disk: set exactly where the stored refcount is 1, for then a writer may
 * change a cluster in its place. Flags of snapshots mean nothing.
 * @param single holds 1 for clusters with a stored refcount of 1.
 */
export async function checkCopied(
  header: Qcow2Header,
  geometry: Geometry,
  tables: HostTables,
  findings: Findings,
  walk: L1Walk,
  single: ClusterCounts,
): Promise<void> {
  const { clusterSize, l2EntryBytes, extendedL2 } = geometry;
  const externalData = header.dataFile !== undefined;
  const isSingle = (offset: number) => single.get(Math.floor(offset / clusterSize)) === 1;
  const bad = (what: string, at: number, high: number, low: number, times: number) => {
    const flag = isCopied(high) ? 'has the copied flag, but' : 'has no copied flag, but';
    const count = isCopied(high) ? 'is not 1' : 'is 1';
    findings.add(
      'corruption',
      at,
      () => `${what}, ${entryText(high, low)}, ${flag} the refcount of its cluster ${count}`,
      times,
    );
  };

  const l1Bytes = header.l1Entries * TABLE_ENTRY_BYTES;
  for await (const { index, high, low } of l1Entries(tables, header.l1Offset, l1Bytes)) {
    const offset = entryOffset(high, low);
    if (offset === 0 || isSingle(offset) === isCopied(high)) continue;
    bad(`entry ${index} of the L1 table`, header.l1Offset + index * TABLE_ENTRY_BYTES, high, low, 1);
  }
  for await (const { offset: at, table, uses } of walk.activeTables()) {
    // A table upon the header is no table; that it is there has been told.
    if (at === 0) continue;
    for (let i = 0; i < table.length; i += l2EntryBytes) {
      const high = table.readUInt32BE(i);
      const low = table.readUInt32BE(i + 4);
      if (high === 0 && low === 0) continue;
      if (entryKind(high, low, extendedL2, externalData) !== 'placed') continue;
      // In a data file every cluster is the image's own.
      if ((externalData || isSingle(entryOffset(high, low))) === isCopied(high)) continue;
      bad(`entry ${i / l2EntryBytes} of the L2 table at offset ${at}`, at + i, high, low, uses);
    }
  }
}
