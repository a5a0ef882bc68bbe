import { lazyRemote } from '../config/format.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { openBucket } from './bucket/open-bucket.ts';
import { BucketTransport } from './bucket/transport.ts';
import { GitTransport } from './git-transport.ts';
import type { Remote } from './remote.ts';
import type { RemoteTransport } from './transport.ts';
import { checkUrl } from './url.ts';

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
  if (checkUrl(url) === 'git') return new GitTransport(store, url);
  const bucket = await openBucket(remote, url, monitor);
  return new BucketTransport(store, bucket, remote.name, { lazy: isLazyCloneOf(store, remote) });
}

/** Whether clusters of a remote stay there until they are read: the store is a lazy clone of it. */
function isLazyCloneOf({ config }: Store, { name }: Remote): boolean {
  return name !== undefined && lazyRemote(config) === name;
}
