import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { NULL_ID } from '../../../objects/index.ts';
import { collectGarbage, packStore } from '../../../store/index.ts';
import { LocalTransport } from '../../../store/remote/local-transport.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, reopen, type TestStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';

const CLUSTERS = 700;

function numbers(count: number, first = 1): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

async function way(from: TestStore, to: TestStore): Promise<LocalTransport> {
  const transport = new LocalTransport(from.store, await reopen(to.path));
  onTestFinished(() => transport.close());
  return transport;
}

function packFiles({ path }: TestStore): string[] {
  const folder = join(path, 'objects/pack');
  return readdirSync(folder).map((name) => join(folder, name));
}

test('LocalTransport pushes versions with their packs as they are, and fetches them', async () => {
  const [a, b] = [await newStore(), await newStore()];
  await commitBytes(a, 'web', diskOf(numbers(CLUSTERS)));
  await packStore(a.store);
  const { commit } = await commitBytes(a, 'web', diskOf([9999, ...numbers(CLUSTERS).slice(1)]));
  const there = await way(a, b);
  const { results } = await there.push([{ name: 'refs/heads/web', before: NULL_ID, after: commit }]);
  expect(results).toEqual([{ name: 'refs/heads/web' }]);
  const inodes = (place: TestStore) =>
    packFiles(place)
      .filter((file) => file.endsWith('.pack'))
      .map((file) => statSync(file).ino);
  expect(inodes(b)).toEqual(expect.arrayContaining(inodes(a)));
  await git(b.path, 'fsck', '--full', '--strict');
  const again = await reopen(b.path);
  expect((await readBack(again, 'web')).equals(await readBack(a.store, 'web'))).toBe(true);

  const c = await newStore();
  const back = await way(c, b);
  const { refs } = await back.refs();
  expect(refs).toEqual([{ name: 'refs/heads/web', id: commit }]);
  await back.fetch([commit]);
  await git(c.path, 'update-ref', 'refs/heads/web', commit);
  await git(c.path, 'fsck', '--full', '--strict');
});

test('LocalTransport refuses a damaged pack, and takes over nothing', async () => {
  const [a, b] = [await newStore(), await newStore()];
  const { commit } = await commitBytes(a, 'web', diskOf(numbers(CLUSTERS)));
  await packStore(a.store);
  const pack = packFiles(a).find((file) => file.endsWith('.pack'))!;
  const bytes = readFileSync(pack);
  bytes[bytes.length >> 1]! ^= 1;
  await chmod(pack, 0o644);
  writeFileSync(pack, bytes);
  const damaged = await reopen(a.path);
  const transport = new LocalTransport(damaged, await reopen(b.path));
  onTestFinished(() => transport.close());
  const update = { name: 'refs/heads/web', before: NULL_ID, after: commit };
  await expect(transport.push([update])).rejects.toMatchObject({ code: 'DAMAGED' });
  expect(packFiles(b)).toEqual([]);
  expect(await git(b.path, 'for-each-ref')).toBe('');
});

test('LocalTransport leaves a ref that is not where it was seen', async () => {
  const [a, b] = [await newStore(), await newStore()];
  const { commit } = await commitBytes(a, 'web', diskOf([1, 2, 3]));
  await commitBytes(b, 'web', diskOf([4, 5]));
  const transport = await way(a, b);
  const { results } = await transport.push([{ name: 'refs/heads/web', before: NULL_ID, after: commit }]);
  expect(results).toMatchObject([{ name: 'refs/heads/web', moved: true }]);
});

test('LocalTransport sends what a gc there has removed since it was opened', async () => {
  const [a, b] = [await newStore(), await newStore()];
  const bytes = diskOf(numbers(CLUSTERS));
  await commitBytes(b, 'kept', diskOf([1]));
  await git(b.path, 'tag', 'v1', 'kept');
  await commitBytes(b, 'old', bytes);
  await git(b.path, 'update-ref', '-d', 'refs/heads/old');
  const { commit } = await commitBytes(a, 'web', bytes);
  const transport = await way(a, b);
  await transport.refs();
  await collectGarbage(await reopen(b.path), { prune: 'now' });
  const { results } = await transport.push([{ name: 'refs/heads/web', before: NULL_ID, after: commit }]);
  expect(results).toEqual([{ name: 'refs/heads/web' }]);
  await git(b.path, 'fsck', '--full', '--strict');
});

test('LocalTransport leaves a ref that somebody has moved to the same place, which is no fault', async () => {
  const [a, b] = [await newStore(), await newStore()];
  const { commit } = await commitBytes(a, 'web', diskOf([1, 2, 3]));
  const update = { name: 'refs/heads/web', before: NULL_ID, after: commit };
  for (const transport of [await way(a, b), await way(a, b)])
    expect((await transport.push([update])).results).toEqual([{ name: 'refs/heads/web' }]);
});
