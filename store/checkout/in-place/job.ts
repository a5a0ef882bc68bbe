import type { Monitor } from '../../progress.ts';
import type { Store } from '../../store.ts';
import type { VersionDisk } from '../../version/version.ts';
import type { ClusterWorkers } from '../../workers/pool.ts';
import type { Target } from './target.ts';

/** A disk of a version that is written over what a file or device holds. */
export interface InPlaceJob {
  readonly store: Store;
  readonly disk: VersionDisk;
  readonly target: Target;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
  readonly counts: InPlaceCounts;
}

/** What it has come to so far. Bytes. */
export interface InPlaceCounts {
  /** Of the disk that was there, read to find what differs; 0 where its version was known. */
  readBytes: number;
  /** Of the clusters that differed, in all. */
  changedBytes: number;
  /** Of guest data that was written, zeros too where they had to be. */
  writtenBytes: number;
  /** Of the disk that became zeros. */
  zeroedBytes: number;
}
