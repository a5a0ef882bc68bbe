import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWholeFile } from '../../../files/index.ts';
import { isId } from '../../../objects/index.ts';
import { type Bucket, type CheckpointCache, RemoteIndexes, RemoteStates } from '../../../remote/index.ts';
import type { Store } from '../../store.ts';
import { BucketPlace } from './place.ts';

/** A bucket as a remote of a store, open. */
export interface BucketRemote {
  readonly store: Store;
  readonly bucket: Bucket;
  readonly states: RemoteStates;
  readonly indexes: RemoteIndexes;
  readonly place: BucketPlace;
}

/**
 * @param name of the remote; undefined for a URL that is none
 * @param place where what is known of it is kept; in the store when not given
 */
export function bucketRemote(
  store: Store,
  bucket: Bucket,
  name: string | undefined,
  place: BucketPlace = new BucketPlace(store, name),
): BucketRemote {
  return {
    store,
    bucket,
    states: new RemoteStates(bucket, checkpointCache(store, place.checkpoints)),
    indexes: new RemoteIndexes(bucket, place.indexes, store.rules),
    place,
  };
}

/** Keeps the last one. Whoever asks checks what comes, so that a damaged file, or one that another process has just replaced, only costs a request. */
function checkpointCache({ rules }: Store, folder: string): CheckpointCache {
  return {
    get: (digest) => readFile(join(folder, digest)).catch(() => undefined),
    put: async (digest, bytes) => {
      await mkdir(folder, { recursive: true });
      await writeWholeFile('remote-checkpoint', join(folder, digest), bytes, rules.sharing);
      const old = (await readdir(folder)).filter((name) => isId(name) && name !== digest);
      for (const name of old) await rm(join(folder, name), { force: true });
    },
  };
}
