import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { StatCache } from '../../store/stat-cache.ts';

const FILES = {
  format: 'raw',
  identities: [{ path: '/a.raw', inode: '1:2', size: 4096, mtimeNs: '1000000001', ctimeNs: '1000000001' }],
};
const KNOWN = { commit: 'a'.repeat(64), disk: 'vda', clusters: 1 };
const LATER = 10_000_000_000n;

async function newFolder(): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'imgstore-stat-cache-'));
  onTestFinished(() => rm(parent, { recursive: true, force: true }));
  return join(parent, 'index');
}

test('StatCache.put opens no database to write what StatCache.get has found there', async () => {
  const folder = await newFolder();
  await new StatCache(folder, {}).put(FILES, LATER, KNOWN);
  const cache = new StatCache(folder, {});
  expect(await cache.get(FILES)).toMatchObject(KNOWN);
  await rm(folder, { recursive: true });
  await cache.put(FILES, LATER, KNOWN);
  await expect(access(folder)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('StatCache.put writes what is not what was found, and what was found when that has been written over', async () => {
  const cache = new StatCache(await newFolder(), {});
  await cache.put(FILES, LATER, KNOWN);
  expect(await cache.get(FILES)).toMatchObject(KNOWN);
  const other = { ...KNOWN, commit: 'b'.repeat(64) };
  await cache.put(FILES, LATER, other);
  await cache.put(FILES, LATER, KNOWN);
  expect(await cache.get(FILES)).toMatchObject(KNOWN);
  await cache.put(FILES, LATER, other);
  expect(await cache.get(FILES)).toMatchObject(other);
});

test('StatCache.lastNoted says what was noted of a file that has changed since, once it was asked for', async () => {
  const folder = await newFolder();
  await new StatCache(folder, {}).put(FILES, LATER, KNOWN);
  const cache = new StatCache(folder, {});
  const changed = { ...FILES, identities: [{ ...FILES.identities[0]!, mtimeNs: '1000000002' }] };
  expect(cache.lastNoted(changed)).toBeUndefined();
  expect(await cache.get(changed)).toBeUndefined();
  expect(cache.lastNoted(changed)).toMatchObject(KNOWN);
  expect(cache.lastNoted({ ...changed, format: 'qcow2' })).toBeUndefined();
});
