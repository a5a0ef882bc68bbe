import { existsSync } from 'node:fs';
import { ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import type { ObjectId, ObjectType } from '../../../objects/index.ts';
import { checkRemote } from '../../../remote/index.ts';
import { EntryReader } from '../../lazy/entry-reader.ts';
import { RemoteWindows } from '../../lazy/remote-windows.ts';
import { type Monitor, throwIfStopped } from '../../progress.ts';
import { bucketRemote } from '../../remote/bucket/bucket-remote.ts';
import { openBucket } from '../../remote/bucket/open-bucket.ts';
import type { Remote } from '../../remote/remote.ts';
import { listRemotes } from '../../remote/remotes.ts';
import { checkUrl, localPath, withoutCredentials } from '../../remote/url.ts';
import { Store } from '../../store.ts';
import type { NewPacks } from './new-packs.ts';

/** Objects by id, wherever they are; undefined for one that is not there. */
type ReadObject = (
  id: ObjectId,
) => Promise<{ readonly type: ObjectType; readonly data: Uint8Array } | undefined>;

/** The remote that is meant by what may be an image too: a file of the name is the image. */
export function remoteMeant(store: Store, name: string): Remote | undefined {
  return existsSync(name) ? undefined : listRemotes(store).find((remote) => remote.name === name);
}

/**
 * Takes lost objects out of a remote: an S3 one, or another store of this machine.
 * @param wanted what is found leaves it
 * @returns how many were found
 * @throws ImgstoreError `UNSUPPORTED` for a git remote, `REMOTE_…`, `DAMAGED` when the remote's copy is damaged, `INTERRUPTED`
 */
export async function healFromRemote(
  store: Store,
  remote: Remote,
  wanted: Set<ObjectId>,
  into: NewPacks,
  monitor: Monitor,
): Promise<number> {
  const { read, close } = await openRemote(store, remote, monitor);
  let found = 0;
  try {
    for (const id of [...wanted]) {
      throwIfStopped(monitor);
      const object = await read(id);
      if (object === undefined) continue;
      await into.addData(id, object.type, object.data);
      wanted.delete(id);
      found++;
    }
    return found;
  } finally {
    await close();
  }
}

interface OpenRemote {
  readonly read: ReadObject;
  readonly close: () => Promise<void>;
}

async function openRemote(store: Store, remote: Remote, monitor: Monitor): Promise<OpenRemote> {
  if (checkUrl(remote.url) === 's3') return openS3Remote(store, remote, monitor);
  const path = localPath(remote.url);
  if (path === undefined)
    throw new ImgstoreError(
      'UNSUPPORTED',
      `${withoutCredentials(remote.url)}: single objects are not taken from a git server: run 'git fetch --refetch ${remote.name}' in the store`,
      { remote: remote.name },
    );
  const other = await Store.open(path);
  return {
    read: async (id) => (other.objects.isStored(id) ? other.objects.read(id) : undefined),
    close: async () => other.close(),
  };
}

async function openS3Remote(store: Store, remote: Remote, monitor: Monitor): Promise<OpenRemote> {
  const bucket = await openBucket(remote, remote.url, monitor);
  const { indexes, states } = bucketRemote(store, bucket, remote.name);
  const close = async () => {
    indexes.close();
    await bucket.close();
  };
  try {
    if (await checkRemote(bucket)) await indexes.use((await states.newest()).content.packs.values());
  } catch (error) {
    await close();
    throw error;
  }
  const reader = new EntryReader(bucket.where, indexes, new RemoteWindows(bucket));
  const read: ReadObject = async (id) => {
    if (!indexes.has(id)) return undefined;
    try {
      return await reader.read(id);
    } catch (error) {
      // The pack has gone from the bucket.
      if (isImgstoreError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  };
  return { read, close };
}
