import { chmodSync, readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import type { ObjectTransaction } from '../../../store/objects/transaction.ts';
import { noise } from '../../qcow2/qemu.ts';
import { countObjects, gitFsck, gitObjects } from '../git.ts';
import { listFiles, newStore, reopen } from '../new-store.ts';

const LIMIT = 8;

async function putMany(transaction: ObjectTransaction, count: number, start = 0): Promise<ObjectId[]> {
  const ids: ObjectId[] = [];
  for (let i = 0; i < count; i++) ids.push(await transaction.put('blob', noise(3000, start + i + 1)));
  return ids;
}

const packs = (path: string) => listFiles(path).filter((name) => name.endsWith('.pack'));

test('ObjectTransaction.publish makes loose files below the limit', async () => {
  const { store, path } = await newStore(4096, { unpackLimit: LIMIT });
  const transaction = store.begin();
  const ids = await putMany(transaction, LIMIT - 1);
  await transaction.publish();
  expect([...store.objects.loose.ids()]).toEqual([...ids].sort());
  expect(packs(path)).toEqual([]);
  expect(transaction.newObjects).toBe(LIMIT - 1);
  expect(transaction.storedBytes).toBe(ids.reduce((sum, id) => sum + store.objects.loose.fileSize(id)!, 0));
  await gitFsck(path);
});

test('ObjectTransaction.publish makes one pack at the limit, which git verifies', async () => {
  const { store, path } = await newStore(4096, { unpackLimit: LIMIT });
  const transaction = store.begin();
  const ids = await putMany(transaction, LIMIT + 3);
  await transaction.publish();
  expect([...store.objects.loose.ids()]).toEqual([]);
  expect(packs(path)).toHaveLength(1);
  expect(transaction.newObjects).toBe(LIMIT + 3);
  const sizes = listFiles(path)
    .filter((name) => /\.(pack|idx|rev)$/.test(name))
    .map((name) => statSync(join(path, name)).size);
  expect(sizes).toHaveLength(3);
  expect(transaction.storedBytes).toBe(sizes.reduce((sum, size) => sum + size));
  expect((await gitObjects(path)).map((line) => line.slice(0, 64))).toEqual([...ids].sort());
  expect(ids.every((id, i) => Buffer.compare(store.objects.read(id).data, noise(3000, i + 1)) === 0)).toBe(
    true,
  );
  await gitFsck(path);
});

test('ObjectTransaction.publish with a limit of 0 makes a pack even of one object', async () => {
  const { store, path } = await newStore(4096, { unpackLimit: 0 });
  const transaction = store.begin();
  await putMany(transaction, 1);
  await transaction.publish();
  expect(packs(path)).toHaveLength(1);
  await gitFsck(path);
});

test('ObjectTransaction.publish of nothing changes nothing', async () => {
  const { store, path } = await newStore();
  const files = listFiles(path);
  const transaction = store.begin();
  await transaction.publish();
  expect(listFiles(path)).toEqual(files);
  expect(transaction).toMatchObject({ newObjects: 0, storedBytes: 0 });
});

test.each([3, 40])('ObjectTransaction shows none of its %i objects before publish', async (count) => {
  const { store, path } = await newStore(4096, { unpackLimit: LIMIT });
  const transaction = store.begin();
  const ids = await putMany(transaction, count);
  const other = await reopen(path);
  expect(ids.some((id) => other.objects.has(id) || store.objects.has(id))).toBe(false);
  expect(await countObjects(path)).toMatchObject({ blob: 0 });
  await transaction.publish();
  expect(ids.every((id) => store.objects.has(id))).toBe(true);
  expect((await countObjects(path)).blob).toBe(count);
});

test.each([3, 40])('ObjectTransaction.discard leaves no file of %i objects', async (count) => {
  const { store, path } = await newStore(4096, { unpackLimit: LIMIT });
  const files = listFiles(path);
  const transaction = store.begin();
  await putMany(transaction, count);
  await transaction.discard();
  await transaction.discard();
  expect(listFiles(path)).toEqual(files);
});

test.each([
  'loose.create',
  'loose.write',
  'loose.fsync',
  'pack.create',
  'pack.write',
  'pack.fsync',
  'rev.create',
  'rev.write',
  'idx.create',
  'idx.fsync',
])('ObjectTransaction.discard leaves no file when %s fails', async (point) => {
  const { store, path } = await newStore(4096, { unpackLimit: LIMIT });
  const files = listFiles(path);
  let left = point === 'loose.write' ? 3 : 1;
  const stop = watchPoints((at) => {
    if (at === point && --left === 0) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
  });
  onTestFinished(stop);
  const transaction = store.begin();
  const work = async () => {
    await putMany(transaction, point.startsWith('loose') ? LIMIT - 1 : LIMIT + 5);
    await transaction.publish();
  };
  await expect(work()).rejects.toMatchObject({
    code: 'IO',
    message: expect.stringContaining('no space left'),
  });
  await transaction.discard();
  expect(listFiles(path)).toEqual(files);
});

test('ObjectTransaction.discard after publish takes nothing back', async () => {
  const { store, path } = await newStore();
  const transaction = store.begin();
  const ids = await putMany(transaction, 3);
  await transaction.publish();
  await transaction.discard();
  expect(ids.every((id) => store.objects.has(id))).toBe(true);
  await gitFsck(path);
});

test.each([3, 40])('ObjectTransaction.claim is true once for each of %i new objects', async (count) => {
  const { store } = await newStore(4096, { unpackLimit: LIMIT });
  const transaction = store.begin();
  const ids = await putMany(transaction, count);
  expect(ids.some((id) => transaction.claim(id))).toBe(false);
  expect(await putMany(transaction, count)).toEqual(ids);
  expect(transaction.newObjects).toBe(count);
  expect(transaction.claim('d'.repeat(64))).toBe(true);
  expect(transaction.claim('d'.repeat(64))).toBe(false);
  await transaction.discard();
});

test('ObjectTransaction.put stores nothing that the store has, loose or packed', async () => {
  const { store, path } = await newStore(4096, { unpackLimit: LIMIT });
  for (const [count, start] of [
    [3, 0],
    [20, 100],
  ] as const) {
    const first = store.begin();
    await putMany(first, count, start);
    await first.publish();
    const files = listFiles(path);
    const second = store.begin();
    await putMany(second, count, start);
    await second.publish();
    expect(second).toMatchObject({ newObjects: 0, storedBytes: 0 });
    expect(listFiles(path)).toEqual(files);
  }
});

test('ObjectTransaction.publish bears another one that stores the same at the same time', async () => {
  const { store, path } = await newStore(4096, { unpackLimit: LIMIT });
  const other = await reopen(path);
  const [a, b] = [store.begin(), other.begin()];
  await Promise.all([putMany(a, 5), putMany(b, 5)]);
  await Promise.all([a.publish(), b.publish()]);
  await Promise.all([a.discard(), b.discard()]);
  expect((await countObjects(path)).blob).toBe(5);
  expect(listFiles(path).filter((name) => name.includes('tmp_'))).toEqual([]);
  await gitFsck(path);
});

test('ObjectTransaction.claim knows what it has published', async () => {
  const { store } = await newStore(4096, { unpackLimit: LIMIT });
  const transaction = store.begin();
  const ids = await putMany(transaction, 20);
  await transaction.publish();
  expect(ids.some((id) => transaction.claim(id))).toBe(false);
  expect(transaction.claim('d'.repeat(64))).toBe(true);
});

test('ObjectTransaction.discard leaves no folder of loose objects that failed', async () => {
  const { store, path } = await newStore();
  const folders = readdirSync(join(path, 'objects'));
  const stop = watchPoints((at) => {
    if (at === 'loose.fsync') throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
  });
  onTestFinished(stop);
  const transaction = store.begin();
  await putMany(transaction, 5);
  await expect(transaction.publish()).rejects.toMatchObject({ code: 'IO' });
  await transaction.discard();
  expect(readdirSync(join(path, 'objects'))).toEqual(folders);
});

test('ObjectTransaction.put stores an object anew whose loose file is empty', async () => {
  const { store, path } = await newStore();
  const first = store.begin();
  const [id] = await putMany(first, 1);
  await first.publish();
  chmodSync(store.objects.loose.path(id!), 0o644);
  truncateSync(store.objects.loose.path(id!), 0);
  expect(store.objects.has(id!)).toBe(false);
  const second = store.begin();
  expect(await putMany(second, 1)).toEqual([id]);
  await second.publish();
  expect(Buffer.compare(store.objects.read(id!).data, noise(3000, 1))).toBe(0);
  await gitFsck(path);
});
