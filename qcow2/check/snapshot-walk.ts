import { counted } from '../../errors/index.ts';
import { badImage } from '../meta/fault.ts';
import type { Geometry } from '../meta/geometry.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { MAX_L1_BYTES, TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import { MAX_SNAPSHOT_ENTRY_BYTES, MAX_SNAPSHOT_TABLE_BYTES, parseSnapshot } from '../meta/snapshot.ts';
import type { Findings } from './findings.ts';
import type { HostTables } from './host-tables.ts';
import type { L1Walk } from './l1-walk.ts';
import type { References } from './references.ts';
import type { WorkLimit } from './work-limit.ts';

/** What a walk over one kind of structure needs. */
export interface WalkParts {
  readonly image: string;
  readonly header: Qcow2Header;
  readonly geometry: Geometry;
  readonly tables: HostTables;
  readonly references: References;
  readonly findings: Findings;
  readonly limit: WorkLimit;
}

/**
 * Checks the snapshot table and counts it, with the L1 tables of all snapshots.
 * @throws ImgstoreError `BAD_IMAGE` for a table that cannot be read; all that its snapshots use would seem leaked.
 */
export async function walkSnapshots(parts: WalkParts, walk: L1Walk): Promise<void> {
  const { header, geometry, tables, references, findings, limit, image } = parts;
  const { snapshotCount, snapshotsOffset } = header;
  if (snapshotCount === 0) return;
  const corrupt = (offset: number, why: string) => findings.add('corruption', offset, () => why);
  if (header.dataFile !== undefined) {
    corrupt(snapshotsOffset, `${counted(snapshotCount, 'snapshot')} in an image with an external data file`);
  }
  let at = snapshotsOffset;
  for (let index = 0; index < snapshotCount; index++) {
    const bytes = await tables.table(at, MAX_SNAPSHOT_ENTRY_BYTES);
    const { snapshot, length } = parseSnapshot(bytes, index, image);
    const { l1Offset, l1Entries, diskSize } = snapshot;
    const name = `snapshot ${JSON.stringify(snapshot.name)} (id ${JSON.stringify(snapshot.id)})`;
    if (header.version === 3 && diskSize === undefined) {
      corrupt(at, `the snapshot table's entry for ${name} lacks the disk's size`);
    }
    const l1Bytes = l1Entries * TABLE_ENTRY_BYTES;
    if (l1Offset % geometry.clusterSize !== 0) {
      corrupt(at, `${name}: its L1 table's offset ${l1Offset} is not a multiple of ${geometry.clusterSize}`);
    } else if (l1Bytes > MAX_L1_BYTES) {
      corrupt(
        at,
        `${name}: its L1 table has ${l1Entries} entries, above ${MAX_L1_BYTES / TABLE_ENTRY_BYTES}`,
      );
    } else {
      limit.spend(Math.min(l1Bytes, Math.max(0, tables.size - l1Offset)));
      await walk.readL1({
        offset: l1Offset,
        entries: l1Entries,
        active: false,
        name: `the L1 table of ${name}`,
      });
    }
    at += length;
    if (at - snapshotsOffset > MAX_SNAPSHOT_TABLE_BYTES) {
      throw badImage(image, `the snapshot table is longer than ${MAX_SNAPSHOT_TABLE_BYTES} bytes`, {
        field: 'snapshots_offset',
        value: snapshotsOffset,
      });
    }
  }
  references.add(snapshotsOffset, at - snapshotsOffset, () => 'the snapshot table');
}
