import { ImgstoreError } from '../../../errors/index.ts';
import { checkRemote } from '../../../remote/index.ts';
import type { Monitor } from '../../progress.ts';
import { ClusterWorkers } from '../../workers/pool.ts';
import type { BucketRemote } from './bucket-remote.ts';
import { Incoming } from './incoming.ts';

/** What packs are fetched and read with. */
export interface BucketLook {
  readonly incoming: Incoming;
  readonly workers: ClusterWorkers;
}

/**
 * Does work that fetches packs of a bucket to look at them; none of them stays here. Nothing else of this store goes to the bucket meanwhile.
 * @throws ImgstoreError `NOT_FOUND` when nothing was pushed there yet, `REMOTE_…`, `BUSY`, and what the work throws
 */
export async function lookThrough<T>(
  remote: BucketRemote,
  monitor: Monitor,
  work: (look: BucketLook) => Promise<T>,
): Promise<T> {
  const { bucket, place } = remote;
  const lock = await place.lock();
  const workers = new ClusterWorkers(Number.POSITIVE_INFINITY);
  const incoming = new Incoming(remote, workers, monitor, place.looked);
  try {
    if (!(await checkRemote(bucket)))
      throw new ImgstoreError('NOT_FOUND', `${bucket.where}: nothing was pushed there yet`, {});
    return await work({ incoming, workers });
  } finally {
    await incoming.clear();
    await workers.close();
    await lock.release();
  }
}
