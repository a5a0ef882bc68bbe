import { ImgstoreError } from '../../errors/index.ts';
import type { FileRules } from '../../files/index.ts';
import type { S3Limits } from '../../remote/index.ts';
import type { Config } from '../config/config.ts';
import { openBucket } from '../remote/bucket/open-bucket.ts';
import { BucketPlace } from '../remote/bucket/place.ts';
import { readRemote } from '../remote/remote.ts';
import { DeferredBucket } from './deferred-bucket.ts';
import { LazyObjects } from './lazy-objects.ts';

/** Bytes of copies of what was read, when the config does not say. */
const DEFAULT_CACHE_BYTES = 10 * 2 ** 30;

/** Key of the config for it. */
const CACHE_KEY = 'imgstore.cacheSize';

/**
 * A guest waits for what is read: a server that refuses connections is given up after some 1.4 s, and one that says nothing after a minute and a half, which is what a guest's driver waits for a disk
 * before it complains.
 */
const LIMITS: Partial<S3Limits> = { attempts: 4, connectMs: 5000, silenceMs: 20_000 };

/**
 * What a lazy clone's remote has. Nobody is asked before something is read.
 * @param store its folder, and how its files are made
 * @param name of the remote
 * @param onNotice told when what is read cannot be kept
 * @throws ImgstoreError `BAD_STORE` when the remote is not in the config, `USAGE`, `REMOTE_…`, `IO`
 */
export async function openLazy(
  store: { readonly folder: string; readonly rules: FileRules },
  config: Config,
  name: string,
  onNotice?: (notice: string) => void,
): Promise<LazyObjects> {
  const remote = readRemote(config, name);
  if (remote === undefined)
    throw new ImgstoreError(
      'BAD_STORE',
      `the store is a lazy clone of remote '${name}', which its config does not have`,
      {
        name,
      },
    );
  const bucket = new DeferredBucket(remote.url, () => openBucket(remote, remote.url, {}, LIMITS));
  const mostBytes = config.number(CACHE_KEY, DEFAULT_CACHE_BYTES);
  const place = new BucketPlace(store, name);
  return LazyObjects.open({ bucket, place, rules: store.rules, mostBytes, onNotice });
}
