import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type ObjectId, objectId } from '../../../objects/index.ts';
import type { Store } from '../../../store/index.ts';
import { git } from '../git.ts';
import { newStore, reopen } from '../new-store.ts';
import { storeWithCommits } from '../refs/some-refs.ts';

async function putBlobs(store: Store, count: number): Promise<ObjectId[]> {
  const transaction = store.begin();
  const ids: ObjectId[] = [];
  for (let i = 0; i < count; i++) ids.push(await transaction.put('blob', Buffer.from(`blob ${i}`)));
  await transaction.publish();
  await transaction.discard();
  return ids;
}

test('ObjectDatabase.read gives the same loose, packed and as both', async () => {
  const { store, path, ids } = await storeWithCommits(3);
  const loose = ids.map((id) => store.objects.read(id));
  await git(path, 'update-ref', 'refs/heads/web', ids[2]!);
  await git(path, 'repack', '-aq');
  const both = await reopen(path);
  expect(ids.map((id) => both.objects.read(id))).toEqual(loose);
  await git(path, 'prune-packed');
  const packed = await reopen(path);
  expect(ids.map((id) => packed.objects.read(id))).toEqual(loose);
  expect(ids.map((id) => packed.objects.header(id))).toMatchObject(ids.map((id) => store.objects.header(id)));
});

test('ObjectDatabase finds what another process has repacked meanwhile', async () => {
  const { store, path, ids } = await storeWithCommits(4);
  await git(path, 'update-ref', 'refs/heads/web', ids[3]!);
  expect(store.objects.has(ids[0]!)).toBe(true);
  await git(path, 'repack', '-adq');
  expect(store.objects.readAs('commit', ids[0]!)).toBeDefined();
  // Once more, so that the pack that is open is gone and its objects are in another.
  await git(path, 'commit-tree', '-m', 'more', await git(path, 'rev-parse', 'web^{tree}'));
  await git(path, 'repack', '-adq', '--depth=0', '-F');
  expect(store.objects.readAs('commit', ids[1]!)).toBeDefined();
  expect(store.objects.header(ids[2]!).type).toBe('commit');
});

test('ObjectDatabase.read throws NOT_FOUND naming an object that is not there', async () => {
  const { store } = await storeWithCommits(1);
  const none = 'e'.repeat(64);
  expect(store.objects.has(none)).toBe(false);
  for (const look of [
    () => store.objects.read(none),
    () => store.objects.header(none),
    () => store.objects.peel(none),
  ])
    expect(look).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND', message: expect.stringContaining(none) }),
    );
});

test('ObjectDatabase.readAs throws DAMAGED for an object of another kind', async () => {
  const { store, ids } = await storeWithCommits(1);
  expect(() => store.objects.readAs('tree', ids[0]!)).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
});

test('ObjectDatabase.read throws DAMAGED naming the file whose bytes are not those of its id', async () => {
  const { store } = await newStore();
  const [a, b] = await putBlobs(store, 2);
  const path = store.objects.loose.path(a!);
  chmodSync(path, 0o644);
  writeFileSync(path, readFileSync(store.objects.loose.path(b!)));
  expect(() => store.objects.read(a!)).toThrow(
    expect.objectContaining({ code: 'DAMAGED', message: expect.stringContaining(path) }),
  );
});

test('ObjectDatabase.withPrefix gives every id that begins so, once, loose and packed', async () => {
  const { store, path } = await newStore(4096, { unpackLimit: 10_000 });
  const ids = await putBlobs(store, 800);
  await git(path, 'update-ref', 'refs/tags/t', ids[0]!);
  await git(path, 'repack', '-aq');
  const opened = await reopen(path);
  const prefix = ids[0]!.slice(0, 4);
  expect(opened.objects.withPrefix(prefix)).toEqual(ids.filter((id) => id.startsWith(prefix)));
  expect(opened.objects.withPrefix(ids[5]!)).toEqual([ids[5]]);
  expect(opened.objects.withPrefix('f'.repeat(64))).toEqual([]);
});

test('ObjectDatabase.peel goes through tags of tags to what they are of', async () => {
  const { store, path, ids } = await storeWithCommits(1);
  await git(path, 'tag', '-a', '-m', 'm', 'one', ids[0]!);
  await git(path, 'tag', '-a', '-m', 'm', 'two', 'one');
  expect(store.objects.peel(await git(path, 'rev-parse', 'two'))).toBe(ids[0]);
  expect(store.objects.peel(ids[0]!)).toBe(ids[0]);
});

test('ObjectDatabase.readTree gives a tree from memory the second time', async () => {
  const { store, path, ids } = await storeWithCommits(1);
  const tree = await git(path, 'rev-parse', `${ids[0]}^{tree}`);
  const first = await store.objects.readTree(tree);
  expect(await store.objects.readTree(tree)).toBe(first);
  expect(objectId('tree', first)).toBe(tree);
  await expect(store.objects.readTree(ids[0]!)).rejects.toMatchObject({ code: 'DAMAGED' });
});
