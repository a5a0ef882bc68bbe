import { isImgstoreError } from '../../errors/index.ts';
import { lazyRemote } from '../config/format.ts';
import type { Monitor } from '../progress.ts';
import { Store } from '../store.ts';
import { openBucket } from './bucket/open-bucket.ts';
import { BucketTransport } from './bucket/transport.ts';
import { GitTransport } from './git-transport.ts';
import { LocalTransport } from './local-transport.ts';
import type { Remote } from './remote.ts';
import type { RemoteTransport } from './transport.ts';
import { checkUrl, localPath } from './url.ts';

/**
 * The way to a remote, by its URL.
 * @param purpose a remote may have another URL for pushes
 * @throws ImgstoreError `USAGE` for a URL that cannot be, `REMOTE_…`, `WRONG_KEY`
 */
export async function openTransport(
  store: Store,
  remote: Remote,
  purpose: 'fetch' | 'push' = 'fetch',
  monitor: Monitor = {},
): Promise<RemoteTransport> {
  const url = purpose === 'push' ? (remote.pushUrl ?? remote.url) : remote.url;
  if (checkUrl(url) === 'git') {
    const other = await openOther(url);
    return other === undefined ? new GitTransport(store, url) : new LocalTransport(store, other);
  }
  const bucket = await openBucket(remote, url, monitor);
  return new BucketTransport(store, bucket, remote.name, { lazy: isLazyCloneOf(store, remote) });
}

/** The store that a path names; undefined for a URL, and for a repository that is no store, which is for git. */
async function openOther(url: string): Promise<Store | undefined> {
  const path = localPath(url);
  if (path === undefined) return undefined;
  try {
    return await Store.open(path);
  } catch (error) {
    if (isImgstoreError(error, 'NO_STORE') || isImgstoreError(error, 'BAD_STORE')) return undefined;
    throw error;
  }
}

/** Whether clusters of a remote stay there until they are read: the store is a lazy clone of it. */
function isLazyCloneOf({ config }: Store, { name }: Remote): boolean {
  return name !== undefined && lazyRemote(config) === name;
}
