import { ImgstoreError } from '../../errors/index.ts';
import type { FileRules } from '../../files/index.ts';
import type { Config } from '../config/config.ts';
import { openBucket } from '../remote/bucket/open-bucket.ts';
import { BucketPlace } from '../remote/bucket/place.ts';
import { readRemote } from '../remote/remote.ts';
import { LazyObjects } from './lazy-objects.ts';

/** Bytes of copies of what was read, when the config does not say. */
const DEFAULT_CACHE_BYTES = 10 * 2 ** 30;

/** Key of the config for it. */
const CACHE_KEY = 'imgstore.cacheSize';

/**
 * What a lazy clone's remote has. Nobody is asked before something is read.
 * @param store its folder, and how its files are made
 * @param name of the remote
 * @throws ImgstoreError `BAD_STORE` when the remote is not in the config, `USAGE`, `REMOTE_…`, `IO`
 */
export async function openLazy(
  store: { readonly folder: string; readonly rules: FileRules },
  config: Config,
  name: string,
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
  const bucket = await openBucket(remote, remote.url);
  const mostBytes = config.number(CACHE_KEY, DEFAULT_CACHE_BYTES);
  return LazyObjects.open(bucket, new BucketPlace(store, name), store.rules, mostBytes);
}
