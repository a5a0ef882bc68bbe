import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeInFolder, replaceFile, writeWholeFile } from '../../../files/index.ts';
import { isId } from '../../../objects/index.ts';
import {
  type Bucket,
  type CheckpointCache,
  RemoteIndexes,
  RemoteStates,
  type SeenState,
  type StateMemory,
} from '../../../remote/index.ts';
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
  const memory = name === undefined ? undefined : stateMemory(store, bucket, place);
  return {
    store,
    bucket,
    states: new RemoteStates(bucket, checkpointCache(store, place.checkpoints), memory),
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

/**
 * A file of JSON, with the bucket that it is of: the remote may have another URL since. Not fsynced: what a failure of the power takes back was true as well. Who cannot write it, as in a store on a read-only mount,
 * compares with what is there.
 */
function stateMemory({ rules }: Store, bucket: Bucket, { newest: path }: BucketPlace): StateMemory {
  const where = [bucket.where, bucket.server].join(' ').trim();
  return {
    toForget: `remove ${path}`,
    async get() {
      const seen = parseSeen(await readFile(path, 'utf8').catch(() => ''));
      return seen?.where === where ? seen : undefined;
    },
    async put({ number, writer }) {
      const bytes = Buffer.from(`${JSON.stringify({ where, number, writer })}\n`);
      const write = () => replaceFile('remote-newest', path, bytes, rules.sharing);
      await makeInFolder('remote-newest', path, write, rules).catch(() => {});
    },
  };
}

function parseSeen(text: string): (SeenState & { readonly where: string }) | undefined {
  try {
    const { where, number, writer } = JSON.parse(text) as SeenState & { readonly where: string };
    return Number.isSafeInteger(number) ? { where, number, writer } : undefined;
  } catch {
    return undefined;
  }
}
