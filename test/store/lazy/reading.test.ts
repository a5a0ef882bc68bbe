import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkStore, collectGarbage, packStore } from '../../../store/index.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, SMALL } from '../new-store.ts';
import { readBack } from '../read-back.ts';
import { fetchLazily, lazyClone, openAnew, promiseOf, pushBranches, SwitchedBucket } from './lazy-store.ts';

const CLUSTERS = Array.from({ length: 1200 }, (_, i) => i + 1);
const DISK = diskOf(CLUSTERS);

/** A bucket with a branch `web`, and a lazy clone of it. */
async function begin(bytes: Uint8Array = DISK) {
  const from = await newStore();
  await commitBytes(from, 'web', bytes);
  const bucket = new SwitchedBucket();
  await pushBranches(from, bucket, 'web');
  const to = await lazyClone(bucket);
  const objects = await promiseOf(to, bucket);
  bucket.ranges.length = 0;
  return { from, bucket, to, objects };
}

test('a lazy clone reads what was committed, and each byte of the bucket once', async () => {
  const { bucket, to } = await begin();
  expect((await readBack(to.store, 'web')).equals(DISK)).toBe(true);
  expect(bucket.rangeBytes).toBeLessThan(DISK.length * 1.1);
  // 4 MiB by a request, when so much is asked for.
  expect(bucket.ranges.length).toBeLessThan(8);
  bucket.ranges.length = 0;
  const anew = await openAnew(to, bucket);
  expect((await readBack(anew.store, 'web')).equals(DISK)).toBe(true);
  expect(bucket.ranges).toEqual([]);
});

test('a lazy clone fetches little for a cluster, and more for who reads on', async () => {
  const { bucket, to, objects } = await begin();
  const ids = (await git(to.path, 'rev-list', '--objects', '--missing=print', 'web'))
    .split('\n')
    .filter((line) => line.startsWith('?'))
    .map((line) => line.slice(1));
  expect(ids).toHaveLength(CLUSTERS.length);
  await objects.bring([ids[0]!]);
  expect(bucket.rangeBytes).toBeLessThanOrEqual(2 * 256 * 1024);
  const places = bucket.ranges.length;
  await readBack(to.store, 'web');
  expect(bucket.ranges.length - places).toBeLessThan(10);
});

test('a lazy clone reads deltas of a packed store', async () => {
  const from = await newStore();
  const changed = Buffer.from(DISK);
  for (let at = 0; at < changed.length; at += SMALL) changed.writeUInt32LE(at + 77, at + 100);
  await commitBytes(from, 'web', DISK);
  await commitBytes(from, 'web', changed);
  await packStore(from.store);
  const bucket = new SwitchedBucket();
  await pushBranches(from, bucket, 'web');
  const to = await lazyClone(bucket);
  await promiseOf(to, bucket);
  expect((await readBack(to.store, 'web')).equals(changed)).toBe(true);
  expect((await readBack(to.store, 'web~1')).equals(DISK)).toBe(true);
});

test('commit in a lazy clone stores no cluster that the bucket has, and pushes only new ones', async () => {
  const { bucket, to } = await begin();
  await commitBytes(to, 'other', DISK);
  const changed = Buffer.from(DISK);
  changed.write('changed', 5 * SMALL);
  const { newObjects } = await commitBytes(to, 'web', changed);
  // A cluster, two nodes of its map, the tree of disks, the root and the commit.
  expect(newObjects).toBe(6);
  const sent = bucket.traffic.sentBytes;
  await pushBranches(to, bucket, 'web', 'other');
  expect(bucket.traffic.sentBytes - sent).toBeLessThan(30_000);
  expect(bucket.ranges).toEqual([]);
  const whole = await lazyClone(bucket);
  await promiseOf(whole, bucket);
  expect((await readBack(whole.store, 'web')).equals(changed)).toBe(true);
});

test('a lazy clone stays one that git and fsck find nothing wrong with, through pack, gc and fetch', async () => {
  const { from, bucket, to } = await begin();
  const judge = async () => {
    await git(to.path, 'fsck', '--full', '--strict');
    expect(await checkStore(to.store)).toMatchObject({ clean: true, missing: [] });
    expect(await checkStore(to.store, { quick: true })).toMatchObject({ clean: true, missing: [] });
  };
  await judge();
  for (let i = 1; i < 4; i++) {
    await commitBytes(from, 'web', diskOf([9000 + i, ...CLUSTERS.slice(1)]));
    await pushBranches(from, bucket, 'web');
    await fetchLazily(to, bucket);
    await commitBytes(to, `own${i}`, diskOf([7000 + i, ...CLUSTERS.slice(1)]));
    await judge();
  }
  await packStore(to.store);
  await judge();
  await packStore(to.store, { aggressive: true });
  await git(to.path, 'branch', '-D', 'own1');
  await collectGarbage(to.store, { prune: 'now' });
  await judge();
  expect((await readBack(to.store, 'web')).equals(diskOf([9003, ...CLUSTERS.slice(1)]))).toBe(true);
  expect((await readBack(to.store, 'own2')).equals(diskOf([7002, ...CLUSTERS.slice(1)]))).toBe(true);
});

test('a lazy clone of one branch commits what another branch of the bucket has', async () => {
  const { from, bucket } = await begin();
  const other = diskOf(CLUSTERS.map((seed) => seed + 5000));
  await commitBytes(from, 'db', other);
  await pushBranches(from, bucket, 'db');
  const to = await lazyClone(bucket, 'web');
  await promiseOf(to, bucket);
  expect(await commitBytes(to, 'own', other)).toMatchObject({ disks: [{ newClusters: 0 }] });
  expect((await readBack(to.store, 'own')).equals(other)).toBe(true);
  await git(to.path, 'fsck', '--full', '--strict');
  expect(await checkStore(to.store)).toMatchObject({ clean: true });
  await collectGarbage(to.store, { prune: 'now' });
  expect((await readBack(to.store, 'own')).equals(other)).toBe(true);
});

test('fsck of a lazy clone tells of what is missing and not promised', async () => {
  const { bucket, to } = await begin();
  await commitBytes(to, 'own', diskOf([8000, ...CLUSTERS.slice(1)]));
  const loose = [...to.store.objects.loose.ids()];
  const blob = loose.find((id) => to.store.objects.header(id).type === 'blob')!;
  await rm(to.store.objects.loose.path(blob));
  const anew = await openAnew(to, bucket);
  const { missing } = await checkStore(anew.store);
  expect(missing.map(({ id }) => id)).toEqual([blob]);
});

test('a ref of a lazy clone moves to a version of promised clusters after another process has collected garbage', async () => {
  const { bucket, to } = await begin();
  const other = await openAnew(to, bucket);
  await commitBytes(to, 'gone', diskOf([1, 2, 77_777]));
  await git(to.path, 'branch', '-D', 'gone');
  expect((await collectGarbage(to.store, { prune: 'now' })).removed).toBeGreaterThan(0);
  const late = diskOf(CLUSTERS.toReversed());
  await commitBytes(other, 'late', late);
  expect((await readBack(other.store, 'late')).equals(late)).toBe(true);
});

test('a process that has a lazy clone open reads what another has fetched', async () => {
  const { from, bucket, to } = await begin();
  const other = await openAnew(to, bucket);
  const next = diskOf([9000, ...CLUSTERS.slice(1)]);
  await commitBytes(from, 'web', next);
  await pushBranches(from, bucket, 'web');
  await fetchLazily(to, bucket);
  expect((await readBack(other.store, 'web')).equals(next)).toBe(true);
});

test('push from a lazy clone to another bucket brings what was never read', async () => {
  const { bucket, to } = await begin();
  await rm(join(to.path, 'imgstore/remotes/origin/cache'), { recursive: true, force: true });
  const second = new SwitchedBucket();
  await pushBranches(to, second, 'web');
  bucket.isDown = true;
  const whole = await lazyClone(second);
  await promiseOf(whole, second);
  expect((await readBack(whole.store, 'web')).equals(DISK)).toBe(true);
});

test('a lazy clone whose bucket has been packed anew finds its clusters in the new packs', async () => {
  const { from, bucket, to } = await begin();
  const packs = [...bucket.objects.keys()].filter((name) => name.endsWith('.pack'));
  // What is there now is in another pack, which a new push has made.
  const anew = new SwitchedBucket();
  await commitBytes(from, 'zero', diskOf([5555]));
  await packStore(from.store, { aggressive: true });
  await pushBranches(from, anew, 'web', 'zero');
  for (const name of packs) bucket.objects.delete(name);
  for (const [name, object] of anew.objects) bucket.objects.set(name, object);
  expect((await readBack(to.store, 'web')).equals(DISK)).toBe(true);
});

test('a lazy clone without its server reads what was read before, says what was not, and goes on when it is back', async () => {
  const { bucket, to } = await begin();
  const { store } = to;
  const ids = await clusterIds(to.path);
  await store.objects.bring(ids.slice(0, 3));
  bucket.isDown = true;
  await store.objects.bring(ids.slice(0, 3));
  expect((await store.objects.readBrought(ids[1]!)).type).toBe('blob');
  const far = ids.at(-1)!;
  const error: unknown = await store.objects.readBrought(far).catch((reason: unknown) => reason);
  expect(error).toMatchObject({
    code: 'REMOTE_UNREACHABLE',
    message: expect.stringMatching(/^object \w+ was not read here before, .*: try again when it does$/),
  });
  // Who asks next does not wait once more.
  const { refused } = bucket;
  await expect(store.objects.bring([far])).rejects.toMatchObject({ code: 'REMOTE_UNREACHABLE' });
  expect(bucket.refused).toBe(refused);
  bucket.isDown = false;
  await expect
    .poll(
      () =>
        store.objects.bring([far]).then(
          () => 'read',
          () => 'down',
        ),
      { timeout: 60_000 },
    )
    .toBe('read');
});

async function clusterIds(path: string): Promise<string[]> {
  const lines = (await git(path, 'rev-list', '--objects', '--missing=print', 'web')).split('\n');
  return lines.filter((line) => line.startsWith('?')).map((line) => line.slice(1));
}
