import type { Store } from '../store.ts';
import { DiskSource } from '../version/disk-source.ts';
import { refuseBeyondEnd } from '../version/map-errors.ts';
import type { VersionDisk } from '../version/version.ts';

/** A range of a version's disk. */
export interface MappedRange {
  /** Bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  readonly kind: 'data' | 'zero';
}

/** Where a version's disk has data, in whole clusters, from its map alone. */
export async function* mapDisk(store: Store, disk: VersionDisk): AsyncGenerator<MappedRange> {
  await refuseBeyondEnd(store.objects, disk);
  const source = new DiskSource(store.objects, disk);
  for await (const { offset, length, kind } of source.extents(0, source.size)) {
    yield { offset, length, kind: kind === 'data' ? 'data' : 'zero' };
  }
}
