import type { ClusterMap } from './cluster-map.ts';

/** A range of the guest's disk, in bytes. */
export interface SharedRange {
  readonly offset: number;
  readonly length: number;
  /** Both maps name the same place for it, or both none. */
  readonly shared: boolean;
}

/**
 * Lays two maps of one image beside each other, for guest offsets `from` to `to`, which both describe. L2 tables that are the same for both are not read.
 * @throws ImgstoreError `BAD_IMAGE` for a table entry that no image may have.
 */
export async function* sharedRanges(
  map: ClusterMap,
  other: ClusterMap,
  from: number,
  to: number,
): AsyncIterable<SharedRange> {
  for (let at = from; at < to; ) {
    const end = map.sharedUntil(other, at, to);
    if (end > at) {
      yield { offset: at, length: end - at, shared: true };
      at = end;
      continue;
    }
    const [a, b] = [await map.runAt(at, to), await other.runAt(at, to)];
    const length = Math.min(a.length, b.length);
    // Of what lies nowhere, host and stored are 0.
    const shared = a.kind === b.kind && a.host === b.host && a.stored === b.stored;
    yield { offset: at, length, shared };
    at += length;
  }
}
