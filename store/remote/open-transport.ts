import { ImgstoreError } from '../../errors/index.ts';
import type { Store } from '../store.ts';
import { GitTransport } from './git-transport.ts';
import type { Remote } from './remotes.ts';
import type { RemoteTransport } from './transport.ts';
import { checkUrl, withoutCredentials } from './url.ts';

/**
 * The way to a remote, by its URL.
 * @param purpose a remote may have another URL for pushes
 * @throws ImgstoreError `USAGE` for a URL that cannot be, `UNSUPPORTED`
 */
export function openTransport(
  store: Store,
  remote: Remote,
  purpose: 'fetch' | 'push' = 'fetch',
): Promise<RemoteTransport> {
  const url = purpose === 'push' ? (remote.pushUrl ?? remote.url) : remote.url;
  if (checkUrl(url) === 's3')
    throw new ImgstoreError(
      'UNSUPPORTED',
      `${withoutCredentials(url)}: this imgstore goes to git remotes only`,
    );
  return Promise.resolve(new GitTransport(store, url));
}
