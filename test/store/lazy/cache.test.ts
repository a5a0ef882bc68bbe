import { createHash } from 'node:crypto';
import { readdirSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { chmod, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { watchPoints } from '../../../files/points.ts';
import { checkoutVersion } from '../../../store/index.ts';
import { ClusterStore } from '../../../store/lazy/cluster-store.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { noise } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { commitBytes, newStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';
import { lazyClone, openAnew, promiseOf, pushBranches, SwitchedBucket } from './lazy-store.ts';

const MEBIBYTE = 2 ** 20;
const CLUSTERS = Array.from({ length: 600 }, (_, i) => i + 1);
const DISK = diskOf(CLUSTERS);

function bytesIn(folder: string): number {
  return filesIn(folder).reduce((sum, path) => sum + statSync(path).size, 0);
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function idOf(number: number): string {
  return createHash('sha256').update(`${number}`).digest('hex');
}

test.each([8, 64])('ClusterStore keeps within %i MiB, also beside another process', async (mebibytes) => {
  const folder = await temporaryFolder();
  const most = mebibytes * MEBIBYTE;
  const processes = [new ClusterStore(folder, most), new ClusterStore(folder, most)];
  const file = noise(65_600, 1);
  let largest = 0;
  const count = Math.ceil((3 * most) / file.length);
  for (let i = 0; i < count; i++) {
    expect(processes[i % 2]!.put(idOf(i), file)).toBe(true);
    if (i % 100 === 0 || i === count - 1) largest = Math.max(largest, bytesIn(folder));
  }
  expect(largest).toBeLessThan(most * 1.05);
  // And it is not much smaller than it may be.
  expect(largest).toBeGreaterThan(most * 0.7);
  expect(processes[0]!.use(idOf(count - 1))).toBe(true);
});

test('ClusterStore takes out first what was used longest ago', async () => {
  const folder = await temporaryFolder();
  const store = new ClusterStore(folder, MEBIBYTE);
  const file = noise(65_600, 1);
  for (let i = 0; i < 15; i++) store.put(idOf(i), file);
  const long = new Date(Date.now() - 2 * 3600 * 1000);
  for (let i = 0; i < 15; i++) utimesSync(store.loose.path(idOf(i)), long, long);
  const longer = new Date(long.getTime() - 1000);
  utimesSync(store.loose.path(idOf(7)), longer, longer);
  expect(store.use(idOf(3))).toBe(true);
  for (let i = 20; i < 26; i++) store.put(idOf(i), file);
  expect(store.use(idOf(3))).toBe(true);
  expect(store.use(idOf(7))).toBe(false);
});

/** A lazy clone with copies of at most so many bytes. */
async function begin(mostBytes = 2 ** 30, onNotice?: (notice: string) => void) {
  const from = await newStore();
  await commitBytes(from, 'web', DISK);
  const bucket = new SwitchedBucket();
  await pushBranches(from, bucket, 'web');
  const to = await lazyClone(bucket);
  await promiseOf(to, bucket, { mostBytes, ...(onNotice === undefined ? {} : { onNotice }) });
  return { bucket, to, cache: join(to.path, 'imgstore/remotes/origin/cache') };
}

test.each([
  ['of next to nothing', 1],
  ['of a few clusters', 50_000],
])('a lazy clone with a cache %s reads all the same', async (_, mostBytes) => {
  const { to, cache } = await begin(mostBytes);
  expect((await readBack(to.store, 'web')).equals(DISK)).toBe(true);
  const path = to.file('out.qcow2');
  await checkoutVersion(to.store, { revision: 'web', output: path, format: 'qcow2' });
  const raw = to.file('out.raw');
  await checkoutVersion(to.store, { revision: 'web', output: raw, format: 'raw' });
  expect((await readFile(raw)).equals(DISK)).toBe(true);
  expect(statSync(cache, { throwIfNoEntry: false }) === undefined ? 0 : bytesIn(cache)).toBeLessThanOrEqual(
    mostBytes,
  );
});

test.each([
  ['torn', (path: string) => truncateSync(path, 100)],
  ['emptied', (path: string) => truncateSync(path, 0)],
  ['damaged', (path: string) => writeFileSync(path, noise(3000, 7))],
])('a copy that was %s is brought again', async (_, damage) => {
  const { bucket, to, cache } = await begin();
  await readBack(to.store, 'web');
  for (const path of filesIn(cache)) {
    await chmod(path, 0o644);
    damage(path);
  }
  const anew = await openAnew(to, bucket);
  expect((await readBack(anew.store, 'web')).equals(DISK)).toBe(true);
  const raw = to.file('out.raw');
  await checkoutVersion(anew.store, { revision: 'web', output: raw, format: 'raw' });
  expect((await readFile(raw)).equals(DISK)).toBe(true);
});

test('a copy that goes after it was found is brought again', async () => {
  const { to, cache } = await begin();
  await readBack(to.store, 'web');
  const { objects } = to.store;
  const bring = objects.bring.bind(objects);
  objects.bring = async (ids) => {
    await bring(ids);
    await rm(cache, { recursive: true, force: true });
  };
  const raw = to.file('out.raw');
  await checkoutVersion(to.store, { revision: 'web', output: raw, format: 'raw' });
  expect((await readFile(raw)).equals(DISK)).toBe(true);
  expect((await readBack(to.store, 'web')).equals(DISK)).toBe(true);
});

test('a lazy clone on a full disk reads, and says once that it keeps nothing', async () => {
  const notices: string[] = [];
  const { to } = await begin(2 ** 30, (notice) => notices.push(notice));
  onTestFinished(
    watchPoints((point) => {
      if (point === 'remote-copy.write')
        throw new ImgstoreError('IO', 'cache: ENOSPC: no space left on device');
    }),
  );
  expect((await readBack(to.store, 'web')).equals(DISK)).toBe(true);
  const raw = to.file('out.raw');
  await checkoutVersion(to.store, { revision: 'web', output: raw, format: 'raw' });
  expect((await readFile(raw)).equals(DISK)).toBe(true);
  expect(notices).toEqual([
    expect.stringMatching(/no space left.*are not kept: they will be fetched again$/),
  ]);
});

test('a cluster that is damaged in the bucket is refused by its name there', async () => {
  const { bucket, to } = await begin();
  for (const [name, { bytes }] of bucket.objects)
    if (name.endsWith('.pack') && bytes.length > MEBIBYTE) bytes.fill(0x55, 600_000, 700_000);
  await expect(readBack(to.store, 'web')).rejects.toMatchObject({
    code: 'DAMAGED',
    message: expect.stringMatching(/s3:\/\/memory: packs\/\w+\.pack: entry at \d+: object \w+: /),
  });
});
