import { ImgstoreError } from '../../errors/index.ts';
import { parseWhen } from '../gc/when.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { type BucketRemote, bucketRemote } from './bucket/bucket-remote.ts';
import { type BucketGc, collectBucket } from './bucket/gc.ts';
import { openBucket } from './bucket/open-bucket.ts';
import { BucketPlace } from './bucket/place.ts';
import { type RemoteVerdict, verifyBucket } from './bucket/verify.ts';
import type { Remote } from './remote.ts';
import { findRemote } from './remotes.ts';
import { checkUrl, withoutCredentials } from './url.ts';

/** How long what a bucket does not list any more stays: longer than any fetch takes, as one that is under way still reads it. */
const DEFAULT_GRACE = '2 weeks';

export interface VerifyRequest {
  /** `origin`, or the only remote, when not given. */
  readonly remote?: string | undefined;
  /** Share of the clusters that are read, 0 to 1; all when not given. */
  readonly share?: number | undefined;
  /** Sends what is lost again, from the store. */
  readonly repair?: boolean | undefined;
}

/** Looks whether an S3 remote is whole. @throws ImgstoreError `NOT_FOUND`, `UNSUPPORTED` for a git remote, `REMOTE_…`, `INTERRUPTED`, `IO` */
export function verifyRemote(
  store: Store,
  { remote, share = 1, repair = false }: VerifyRequest,
  monitor: Monitor = {},
): Promise<RemoteVerdict> {
  return withBucket(
    store,
    remote,
    "look there: 'imgstore fsck' in a store, 'git fsck' in another repository",
    monitor,
    (bucket) => verifyBucket(bucket, { share, repair }, monitor),
  );
}

/**
 * Takes out of an S3 remote what its refs do not lead to.
 * @param prune what left the remote's list before this moment goes; two weeks ago when not given
 * @throws ImgstoreError `NOT_FOUND`, `UNSUPPORTED` for a git remote, `USAGE`, `REMOTE_…`, `DAMAGED`, `INTERRUPTED`, `IO`
 */
export function collectRemote(
  store: Store,
  remote: string | undefined,
  prune: string = DEFAULT_GRACE,
  monitor: Monitor = {},
): Promise<BucketGc> {
  const now = Date.now();
  const graceMs = now - parseWhen(prune, now);
  return withBucket(
    store,
    remote,
    "do it there: 'imgstore gc' in a store, 'git gc' in another repository",
    monitor,
    (bucket) => collectBucket(bucket, graceMs, monitor),
  );
}

async function withBucket<T>(
  store: Store,
  name: string | undefined,
  elsewhere: string,
  monitor: Monitor,
  work: (remote: BucketRemote) => Promise<T>,
): Promise<T> {
  const remote = findRemote(store, name);
  if (checkUrl(remote.url) !== 's3')
    throw new ImgstoreError(
      'UNSUPPORTED',
      `${withoutCredentials(remote.url)}: is no S3 remote: ${elsewhere}`,
      { remote: remote.name },
    );
  const bucket = await openBucket(remote, remote.url, monitor);
  try {
    return await withPlace(store, remote, async (place) => {
      const open = bucketRemote(store, bucket, remote.name, place);
      try {
        return await work(open);
      } finally {
        open.indexes.close();
      }
    });
  } finally {
    await bucket.close();
  }
}

/** The store itself needs not change for upkeep: where it cannot be written to, packs are looked at among the temporary files. */
async function withPlace<T>(
  store: Store,
  { name }: Remote,
  work: (place: BucketPlace) => Promise<T>,
): Promise<T> {
  const own = new BucketPlace(store, name);
  if (await own.isWritable()) return work(own);
  const temporary = await BucketPlace.temporary(own);
  try {
    return await work(temporary);
  } finally {
    await temporary.remove();
  }
}
