import { ObjectFrames, type ObjectId } from '../../objects/index.ts';
import type { PackedEntry } from '../../pack/index.ts';
import { readCluster, readPacked } from './jobs.ts';
import type { StoredStream } from './stored-stream.ts';

/** Where a cluster's bytes go. */
export interface FetchPlace {
  readonly id: ObjectId;
  /** Length in bytes that the cluster must have. */
  readonly length: number;
  readonly memory: SharedArrayBuffer;
  /** Offset in the memory. */
  readonly to: number;
}

/** A cluster in a pack. */
export interface PackedFetch extends FetchPlace {
  readonly entry: PackedEntry;
}

/** A cluster that was found. */
export interface LocatedFetch extends FetchPlace {
  readonly stored: StoredStream;
}

/** The clusters at work, with their headers: of this thread. */
const frames = new ObjectFrames('blob');

/**
 * Reads clusters from packs and checks them against their ids. Returns the places in `items` of those that are left: deltas against objects that are named by their ids, and whatever is wrong, about which
 * {@link fetchLocated} says more.
 */
export function fetchPacked(items: readonly PackedFetch[]): number[] {
  const left: number[] = [];
  const perGroup = ObjectFrames.countFor(Math.max(...items.map(({ length }) => length)));
  for (let first = 0; first < items.length; first += perGroup) {
    const group = items.slice(first, first + perGroup);
    const data = group.map((item, i) => readPacked(frames, item, i));
    const ids = frames.ids(group.length);
    for (const [i, { id, memory, to, length }] of group.entries()) {
      const cluster = data[i];
      if (cluster === undefined || ids[i] !== id) left.push(first + i);
      else new Uint8Array(memory, to, length).set(cluster);
    }
  }
  return left;
}

/** Reads clusters and checks each against its id. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO` */
export function fetchLocated(items: readonly LocatedFetch[]): void {
  for (const item of items) new Uint8Array(item.memory, item.to, item.length).set(readCluster(item));
}
