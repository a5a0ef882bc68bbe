import type { Geometry } from '../meta/geometry.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { entryOffset } from '../meta/l2-entry.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import type { ClusterCounts } from './cluster-counts.ts';
import { entryText, isCopied } from './entry-bits.ts';
import type { Findings } from './findings.ts';
import type { HostTables } from './host-tables.ts';
import { eachL1Entry, type L1Walk } from './l1-walk.ts';
import { entryKind } from './l2-check.ts';

/** L1 entries for tables behind the end of the file whose flags are checked; each was found corrupt before. */
const MAX_BEHIND_END = 4096;

/**
 * Checks the copied flags of the active disk: set exactly where the stored refcount is 1, for then a writer may
 * change a cluster in its place. Flags of snapshots mean nothing.
 * @param single holds 1 for clusters of the file with a stored refcount of 1.
 * @param outside the stored refcount of a cluster behind the end of the file.
 */
export async function checkCopied(
  header: Qcow2Header,
  geometry: Geometry,
  tables: HostTables,
  findings: Findings,
  walk: L1Walk,
  single: ClusterCounts,
  outside: (cluster: number) => Promise<number>,
): Promise<void> {
  const { clusterSize, l2EntryBytes, extendedL2 } = geometry;
  const externalData = header.dataFile !== undefined;
  // Hardly ever a promise: that would make a walk over millions of entries slow.
  const isSingle = (offset: number): boolean | Promise<boolean> => {
    const cluster = Math.floor(offset / clusterSize);
    return offset < tables.size
      ? single.get(cluster) === 1
      : outside(cluster).then((refcount) => refcount === 1);
  };
  const bad = (what: () => string, at: number, high: number, low: number, times: number) => {
    const flag = isCopied(high) ? 'has the copied flag, but' : 'has no copied flag, but';
    const count = isCopied(high) ? 'is not 1' : 'is 1';
    findings.add(
      'corruption',
      at,
      () => `${what()}, ${entryText(high, low)}, ${flag} the refcount of its cluster ${count}`,
      times,
    );
  };

  const l1Bytes = header.l1Entries * TABLE_ENTRY_BYTES;
  const behindEnd: { index: number; high: number; low: number }[] = [];
  const badL1 = (index: number, high: number, low: number) =>
    bad(() => `entry ${index} of the L1 table`, header.l1Offset + index * TABLE_ENTRY_BYTES, high, low, 1);
  await eachL1Entry(tables, header.l1Offset, l1Bytes, (index, high, low) => {
    const offset = entryOffset(high, low);
    if (offset === 0) return;
    if (offset >= tables.size) {
      if (behindEnd.length < MAX_BEHIND_END) behindEnd.push({ index, high, low });
    } else if ((single.get(Math.floor(offset / clusterSize)) === 1) !== isCopied(high)) {
      badL1(index, high, low);
    }
  });
  for (const { index, high, low } of behindEnd) {
    if ((await isSingle(entryOffset(high, low))) !== isCopied(high)) badL1(index, high, low);
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
      const found = externalData || isSingle(entryOffset(high, low));
      const one = found instanceof Promise ? await found : found;
      if (one === isCopied(high)) continue;
      bad(() => `entry ${i / l2EntryBytes} of the L2 table at offset ${at}`, at + i, high, low, uses);
    }
  }
}
