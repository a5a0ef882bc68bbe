import { onTestFinished } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import type { BucketRange } from '../../../remote/index.ts';
import { LazyObjects } from '../../../store/lazy/lazy-objects.ts';
import { BucketPlace } from '../../../store/remote/bucket/place.ts';
import { BucketTransport } from '../../../store/remote/bucket/transport.ts';
import { MemoryBucket } from '../../remote/memory-bucket.ts';
import { git } from '../git.ts';
import { newStore, reopen, type TestStore } from '../new-store.ts';
import { pushBranches as pushTo } from '../remote/bucket/ways.ts';

/** A bucket that can be cut off, and counts what is read of packs. */
export class SwitchedBucket extends MemoryBucket {
  isDown = false;
  /** Requests that were made while it was down. */
  refused = 0;
  readonly ranges: BucketRange[] = [];

  override async get(name: string, range?: BucketRange): Promise<Uint8Array> {
    if (this.isDown) {
      this.refused++;
      throw new ImgstoreError('REMOTE_UNREACHABLE', `${this.where}: GET ${name}: nobody listens there`);
    }
    if (range !== undefined && name.startsWith('packs/')) this.ranges.push(range);
    return super.get(name, range);
  }

  /** Bytes of ranges. */
  get rangeBytes(): number {
    return this.ranges.reduce((sum, { length }) => sum + length, 0);
  }
}

/** Pushes branches of a store, from where the bucket has them. */
export async function pushBranches(
  { store }: TestStore,
  bucket: MemoryBucket,
  ...branches: string[]
): Promise<void> {
  const transport = new BucketTransport(store, bucket, 'origin');
  const { results } = await pushTo(transport, store, branches);
  await transport.close();
  for (const { fault } of results) if (fault !== undefined) throw new Error(fault);
}

/** A lazy clone of a bucket, with git's settings of one. */
export async function lazyClone(bucket: MemoryBucket, ...branches: string[]): Promise<TestStore> {
  const place = await newStore();
  await fetchLazily(place, bucket, ...branches);
  await git(place.path, 'config', 'extensions.partialclone', 'origin');
  await git(place.path, 'config', 'remote.origin.promisor', 'true');
  await git(place.path, 'config', 'remote.origin.url', 's3://memory');
  return place;
}

/** Brings commits and maps of what a bucket's refs lead to, and moves the branches there. @param branches all, when there are none */
export async function fetchLazily(
  { store, path }: TestStore,
  bucket: MemoryBucket,
  ...branches: string[]
): Promise<void> {
  const transport = new BucketTransport(store, bucket, 'origin', { lazy: true });
  const there = await transport.refs();
  const isWanted = (name: string) =>
    branches.length === 0 || branches.includes(name.slice('refs/heads/'.length));
  const refs = there.refs.filter(({ name }) => isWanted(name));
  await transport.fetch(refs.map(({ id }) => id));
  await transport.close();
  for (const { name, id } of refs) await git(path, 'update-ref', name, id);
}

/** Opens what a lazy clone lacks, as another process would. */
export async function promiseOf(
  { store }: TestStore,
  bucket: MemoryBucket,
  { mostBytes = 2 ** 30, onNotice }: { mostBytes?: number; onNotice?: (notice: string) => void } = {},
): Promise<LazyObjects> {
  const place = new BucketPlace(store, 'origin');
  const objects = await LazyObjects.open({ bucket, place, rules: store.rules, mostBytes, onNotice });
  store.objects.promise(objects);
  return objects;
}

/** Opens a lazy clone anew: nothing that it has read is in memory. */
export async function openAnew(
  place: TestStore,
  bucket: MemoryBucket,
  options: Parameters<typeof promiseOf>[2] = {},
): Promise<TestStore> {
  // `Store.open` would look for the server of the URL.
  await git(place.path, 'config', '--unset', 'extensions.partialclone');
  const store = await reopen(place.path);
  await git(place.path, 'config', 'extensions.partialclone', 'origin');
  onTestFinished(() => store.close());
  await promiseOf({ ...place, store }, bucket, options);
  return { ...place, store };
}
