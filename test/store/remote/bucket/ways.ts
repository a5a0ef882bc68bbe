import { expect } from 'vitest';
import { NULL_ID, type ObjectId } from '../../../../objects/index.ts';
import type { Bucket } from '../../../../remote/index.ts';
import { Store } from '../../../../store/index.ts';
import { type BucketRemote, bucketRemote } from '../../../../store/remote/bucket/bucket-remote.ts';
import { BucketTransport } from '../../../../store/remote/bucket/transport.ts';
import type { PushSummary, RemoteUpdate, TransferSummary } from '../../../../store/remote/transport.ts';
import { git, gitFsck } from '../../git.ts';
import { newStore, type TestStore } from '../../new-store.ts';

/** Full names and ids of a store's branches and tags. */
export async function ownRefs({ path }: TestStore): Promise<Map<string, ObjectId>> {
  const text = await git(
    path,
    'for-each-ref',
    '--format=%(refname) %(objectname)',
    'refs/heads',
    'refs/tags',
  );
  return new Map(
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split(' ') as [string, ObjectId]),
  );
}

/** Does work by a way of its own to a bucket, as a process of its own would. */
export async function withWay<T>(
  { path }: TestStore,
  bucket: Bucket,
  work: (way: BucketTransport, store: Store) => Promise<T>,
): Promise<T> {
  const store = await Store.open(path);
  const way = new BucketTransport(store, bucket, 'origin');
  try {
    return await work(way, store);
  } finally {
    await way.close();
    store.close();
  }
}

/** Does what looks after a bucket, with what a store knows of it. */
export async function withRemote<T>(
  { store }: Pick<TestStore, 'store'>,
  bucket: Bucket,
  work: (remote: BucketRemote) => Promise<T>,
): Promise<T> {
  const remote = bucketRemote(store, bucket, 'origin');
  try {
    return await work(remote);
  } finally {
    remote.indexes.close();
  }
}

/** Moves all refs of a bucket to where those of a store are, and removes those that the store has not. */
export function pushAll(place: TestStore, bucket: Bucket): Promise<PushSummary> {
  return withWay(place, bucket, async (way) => {
    const there = new Map((await way.refs()).refs.map(({ name, id }) => [name, id]));
    const own = await ownRefs(place);
    const updates = [...new Set([...own.keys(), ...there.keys()])]
      .map((name) => ({ name, before: there.get(name) ?? NULL_ID, after: own.get(name) ?? NULL_ID }))
      .filter(({ before, after }) => before !== after);
    if (updates.length === 0) return { objects: 0, bytes: 0, results: [] };
    return way.push(updates);
  });
}

/** Moves branches of a bucket from where they are to where those of a store are. */
export async function pushBranches(
  way: BucketTransport,
  { refs }: Store,
  branches: readonly string[],
): Promise<PushSummary> {
  const there = new Map((await way.refs()).refs.map(({ name, id }) => [name, id]));
  const updates: RemoteUpdate[] = [];
  for (const branch of branches) {
    const name = `refs/heads/${branch}`;
    updates.push({ name, before: there.get(name) ?? NULL_ID, after: (await refs.resolve(name))! });
  }
  return way.push(updates);
}

/** Fetches all that a bucket's refs lead to, and moves the store's there. */
export function fetchAll(place: TestStore, bucket: Bucket): Promise<TransferSummary> {
  return withWay(place, bucket, async (way) => {
    const { refs } = await way.refs();
    const summary = await way.fetch(refs.map(({ id }) => id));
    for (const { name, id } of refs) await git(place.path, 'update-ref', name, id);
    return summary;
  });
}

/** Fails unless a new store that fetches from the bucket has the refs of another and is in order by git's judgement. */
export async function expectWhole(from: TestStore, bucket: Bucket): Promise<TestStore> {
  const to = await newStore();
  await fetchAll(to, bucket);
  expect(await ownRefs(to)).toEqual(await ownRefs(from));
  await gitFsck(to.path);
  return to;
}
