import type { BlockSource } from '../../block/index.ts';
import { badImage } from '../meta/fault.ts';
import type { Qcow2Header } from '../meta/header.ts';
import {
  MAX_SNAPSHOT_ENTRY_BYTES,
  MAX_SNAPSHOT_TABLE_BYTES,
  parseSnapshot,
  type Snapshot,
} from '../meta/snapshot.ts';

/** Read at once; the longest entry fits several times, most tables fit whole. */
const WINDOW_BYTES = 4 * MAX_SNAPSHOT_ENTRY_BYTES;

/**
 * Reads the table of internal snapshots.
 * @param image the file's name, for errors.
 * @throws ImgstoreError `BAD_IMAGE` naming the entry and the field.
 */
export async function readSnapshots(
  host: BlockSource,
  header: Qcow2Header,
  image: string,
): Promise<readonly Snapshot[]> {
  const snapshots: Snapshot[] = [];
  const start = header.snapshotsOffset;
  let window = Buffer.alloc(0);
  let windowAt = start;
  for (let index = 0, at = start; index < header.snapshotCount; index++) {
    if (at - start > MAX_SNAPSHOT_TABLE_BYTES) {
      throw badImage(image, `its snapshot table is longer than ${MAX_SNAPSHOT_TABLE_BYTES} bytes`, {
        field: 'nb_snapshots',
        value: header.snapshotCount,
      });
    }
    const windowEnd = windowAt + window.length;
    if (at + MAX_SNAPSHOT_ENTRY_BYTES > windowEnd && (windowEnd < host.size || index === 0)) {
      window = Buffer.allocUnsafe(Math.max(0, Math.min(WINDOW_BYTES, host.size - at)));
      windowAt = at;
      if (window.length > 0) await host.read(at, window);
    }
    const { snapshot, length } = parseSnapshot(window.subarray(at - windowAt), index, image);
    snapshots.push(snapshot);
    at += length;
  }
  return snapshots;
}
