import { readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { indexName, RemoteStates } from '../../../../remote/index.ts';
import { EMPTY_CONTENT } from '../../../../remote/layout/state.ts';
import { LazyObjects } from '../../../../store/lazy/lazy-objects.ts';
import { readPackList, writePackList } from '../../../../store/lazy/pack-list.ts';
import { bucketRemote } from '../../../../store/remote/bucket/bucket-remote.ts';
import { collectBucket } from '../../../../store/remote/bucket/gc.ts';
import { UploadJournal } from '../../../../store/remote/bucket/journal.ts';
import { removeOldIndexes } from '../../../../store/remote/bucket/old-indexes.ts';
import { BucketPlace } from '../../../../store/remote/bucket/place.ts';
import { FaultyBucket } from '../../../remote/faulty-bucket.ts';
import { packRow } from '../../../remote/layout/contents.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { diskOf } from '../../disks.ts';
import { git } from '../../git.ts';
import {
  fetchLazily,
  lazyClone,
  openAnew,
  promiseOf,
  pushBranches,
  SwitchedBucket,
} from '../../lazy/lazy-store.ts';
import { commitBytes, newStore, SMALL, type TestStore } from '../../new-store.ts';
import { readBack } from '../../read-back.ts';
import { fetchAll, pushAll, withRemote } from './ways.ts';

const GRACE_MS = 14 * 24 * 60 * 60 * 1000;
const DISK = diskOf(Array.from({ length: 40 }, (_, i) => i + 1));

function keptIn({ store }: TestStore): string[] {
  return readdirSync(new BucketPlace(store, 'origin').indexes).sort();
}

async function listed(bucket: MemoryBucket): Promise<string[]> {
  const { content } = await new RemoteStates(bucket).newest();
  return [...content.packs.keys()].map((pack) => `${pack}.idx`).sort();
}

/** A bucket with a branch `web`, of which a store knows. */
async function begin() {
  const from = await newStore();
  await commitBytes(from, 'web', DISK);
  const bucket = new SwitchedBucket();
  await pushBranches(from, bucket, 'web');
  return { from, bucket };
}

/** Makes another history of `web` and has the bucket's packs written anew. */
async function replaceAll(place: TestStore, bucket: MemoryBucket): Promise<void> {
  await git(place.path, 'update-ref', '-d', 'refs/heads/web');
  await commitBytes(place, 'web', DISK.subarray(0, 10 * SMALL));
  await pushAll(place, bucket);
  await withRemote(place, bucket, (remote) => collectBucket(remote, GRACE_MS, {}));
}

describe('indexes of packs that have left the list', () => {
  test('go with a fetch, a push and a gc that take a newer one', async () => {
    const { from, bucket } = await begin();
    const [fetching, pushing] = [await newStore(), await newStore()];
    const before = await listed(bucket);
    for (const place of [fetching, pushing]) await fetchAll(place, bucket);
    expect(keptIn(fetching)).toEqual(before);
    await replaceAll(from, bucket);
    const after = await listed(bucket);
    expect(before.filter((name) => after.includes(name)).length).toBeLessThan(before.length);
    expect(keptIn(from)).toEqual(after);
    await fetchAll(fetching, bucket);
    expect(keptIn(fetching)).toEqual(after);
    await commitBytes(pushing, 'db', DISK);
    await pushBranches(pushing, bucket, 'db');
    expect(keptIn(pushing)).toEqual(await listed(bucket));
  });

  test('stay for a push that was interrupted and for readers of a lazy clone, and other files stay', async () => {
    const { store } = await newStore();
    const bucket = new MemoryBucket();
    const remote = bucketRemote(store, bucket, 'origin');
    onTestFinished(() => remote.indexes.close());
    const rows = [1, 2, 3, 4].map((number) => ({ ...packRow(number), bytes: 2 ** 20 }));
    const [current, noted, promised, old] = rows.map(({ pack }) => `${pack}.idx`);
    await mkdir(remote.place.indexes, { recursive: true });
    for (const { pack } of rows) await writeFile(remote.indexes.path(pack), 'an index');
    await writeFile(join(remote.place.indexes, 'another'), '');
    const journal = await UploadJournal.open(store, remote.place.journal, bucket, EMPTY_CONTENT);
    await journal.add(rows[1]!, Date.now());
    await writePackList(remote.place.packList, [rows[2]!], store.rules);
    await removeOldIndexes(remote, { ...EMPTY_CONTENT, packs: new Map([[rows[0]!.pack, rows[0]!]]) });
    expect(readdirSync(remote.place.indexes).sort()).toEqual([current, noted, promised, 'another']);
    expect(old).toBeDefined();
  });

  test('are read on by a lazy clone that was opened before another process fetched', async () => {
    const { from, bucket } = await begin();
    const to = await lazyClone(bucket);
    await promiseOf(to, bucket);
    const web = (await to.store.refs.resolve('refs/heads/web'))!;
    const before = keptIn(to);
    await replaceAll(from, bucket);
    const beside = await openAnew(to, bucket);
    await fetchLazily(beside, bucket);
    expect(keptIn(to).filter((name) => before.includes(name)).length).toBeLessThan(before.length);
    await git(to.path, 'update-ref', 'refs/heads/old', web);
    expect((await readBack(to.store, 'old')).equals(DISK)).toBe(true);
  });

  test('are not asked for by who opens a lazy clone while another process fetches', async () => {
    const { bucket } = await begin();
    const { store } = await lazyClone(bucket);
    const place = new BucketPlace(store, 'origin');
    const current = (await readPackList(place.packList))!;
    await writePackList(place.packList, [packRow(1), ...current], store.rules);
    const slow = new FaultyBucket(bucket);
    slow.onRequest = () => writePackList(place.packList, current, store.rules);
    const options = { bucket: slow, place, rules: store.rules, mostBytes: 0 };
    const objects = await LazyObjects.open(options);
    onTestFinished(() => objects.close());
    expect(slow.requests.map(({ name }) => name)).toEqual([indexName(packRow(1))]);
    await writePackList(place.packList, [packRow(2), ...current], store.rules);
    slow.onRequest = () => {};
    await expect(LazyObjects.open(options)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
