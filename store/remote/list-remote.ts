import type { ObjectId } from '../../objects/index.ts';
import type { Monitor } from '../progress.ts';
import type { Ref } from '../refs/refs.ts';
import type { Store } from '../store.ts';
import { openTransport } from './open-transport.ts';
import type { Remote } from './remote.ts';
import { findRemote, listRemotes, remoteOfUrl } from './remotes.ts';

export interface ListedRemote {
  /** The URL, without credentials. */
  readonly url: string;
  /** Full name of the branch that its HEAD names. */
  readonly head: string | undefined;
  readonly refs: readonly (Ref & { readonly peeled: ObjectId | undefined })[];
}

/**
 * The refs that a remote has now.
 * @param asked name of a remote, or a URL; `origin` or the only remote when not given
 * @throws ImgstoreError `NOT_FOUND`, `USAGE`, `REMOTE_…`
 */
export async function listRemoteRefs(
  store: Store,
  asked: string | undefined,
  monitor: Monitor = {},
): Promise<ListedRemote> {
  const transport = await openTransport(store, remoteMeant(store, asked));
  try {
    const { refs, peeled, head } = await transport.refs(monitor);
    return {
      url: transport.where,
      head,
      refs: refs.map(({ name, id }) => ({ name, id, peeled: peeled?.get(name) })),
    };
  } finally {
    await transport.close();
  }
}

function remoteMeant(store: Store, asked: string | undefined): Remote {
  const isName =
    asked === undefined || listRemotes(store).some(({ name }) => name === asked) || !/[:/.]/.test(asked);
  return isName ? findRemote(store, asked) : remoteOfUrl(asked);
}
