import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { openTransport } from './open-transport.ts';
import type { Remote } from './remote.ts';

/**
 * Goes to a remote once, before it is entered into the config.
 * @throws ImgstoreError `REMOTE_…`, `UNSUPPORTED`, `NOT_FOUND` when it is not one
 */
export async function probeRemote(store: Store, remote: Remote, monitor: Monitor = {}): Promise<void> {
  const transport = await openTransport(store, remote, 'fetch', monitor);
  try {
    await transport.refs(monitor);
  } finally {
    await transport.close();
  }
}
