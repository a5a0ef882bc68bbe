import { readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packName, RemoteStates } from '../../../../remote/index.ts';
import { collectGarbage, packStore, Store } from '../../../../store/index.ts';
import { type BucketRequest, FaultyBucket } from '../../../remote/faulty-bucket.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { diskOf } from '../../disks.ts';
import { git, gitFsck } from '../../git.ts';
import { commitBytes, newStore, type TestStore } from '../../new-store.ts';
import { readBack } from '../../read-back.ts';
import { expectWhole, fetchAll, ownRefs, pushAll } from './ways.ts';

function numbers(count: number, first = 1): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Makes everything in a store as old as can be. */
function age({ path }: TestStore): void {
  const entries = readdirSync(join(path, 'objects'), { recursive: true, withFileTypes: true });
  for (const entry of entries) if (entry.isFile()) utimesSync(join(entry.parentPath, entry.name), 1000, 1000);
}

/** Removes all that nothing leads to, as another process would. */
async function collect({ path }: TestStore): Promise<void> {
  const store = await Store.open(path);
  try {
    await collectGarbage(store, { prune: 'now' });
  } finally {
    store.close();
  }
}

async function pack({ path }: TestStore, aggressive: boolean): Promise<void> {
  const store = await Store.open(path);
  try {
    await packStore(store, { aggressive });
  } finally {
    store.close();
  }
}

async function filled(): Promise<TestStore> {
  const place = await newStore();
  for (let i = 0; i < 4; i++) await commitBytes(place, 'web', diskOf([1000 + i, ...numbers(40)]));
  await packStore(place.store);
  for (let i = 0; i < 4; i++) await commitBytes(place, 'db', diskOf([2000 + i, ...numbers(30, 100)]));
  return place;
}

/** Does something to a store at every third request, one after the other, as others are told that it is locked. */
function disturbed(bucket: MemoryBucket, disturb: (request: BucketRequest) => Promise<void>): FaultyBucket {
  const busy = new FaultyBucket(bucket);
  let before = Promise.resolve();
  busy.onRequest = (request) => {
    if (request.number % 3 !== 1) return;
    before = before.then(() => disturb(request));
    return before;
  };
  return busy;
}

/** Names of the packs of clusters. */
async function dataPacks(bucket: MemoryBucket): Promise<ReadonlySet<string>> {
  const { content } = await new RemoteStates(bucket).newest();
  const packs = [...content.packs.values()].filter(({ kind }) => kind === 'data');
  return new Set(packs.map(packName));
}

describe('beside gc and pack', () => {
  test('push sends whole versions', async () => {
    const place = await filled();
    const bucket = new MemoryBucket();
    await pushAll(
      place,
      disturbed(bucket, async ({ number }) => {
        if (number % 2 === 0) await collect(place);
        else await pack(place, number % 4 === 1);
      }),
    );
    await expectWhole(place, bucket);
  });

  test('fetch brings whole versions', async () => {
    const from = await filled();
    const bucket = new MemoryBucket();
    await pushAll(from, bucket);
    const to = await newStore();
    await commitBytes(to, 'own', diskOf(numbers(20)));
    await fetchAll(
      to,
      disturbed(bucket, () => collect(to)),
    );
    for (const branch of ['web', 'db'])
      expect((await readBack(to.store, branch)).equals(await readBack(from.store, branch))).toBe(true);
    await gitFsck(to.path);
  });

  test.each([['loose'], ['packed']])(
    'fetch keeps %s objects that are here, that nothing leads to any more and that it counts on',
    async (kind) => {
      // In a pack of their own, so that they do not come with others.
      const from = await newStore();
      const bucket = new MemoryBucket();
      await commitBytes(from, 'web', diskOf(numbers(40)));
      await pushAll(from, bucket);
      await commitBytes(from, 'db', diskOf(numbers(30, 100)));
      await pushAll(from, bucket);
      const to = await newStore();
      await commitBytes(to, 'own', diskOf([77]));
      // The same clusters, of a branch that is gone since long.
      await commitBytes(to, 'gone', diskOf(numbers(40)), { message: 'of here' });
      if (kind === 'packed') await packStore(to.store);
      await git(to.path, 'update-ref', '-d', 'refs/heads/gone');
      age(to);
      const clusters = await dataPacks(bucket);
      const busy = new FaultyBucket(bucket);
      let collected = 0;
      let before = Promise.resolve();
      // Clusters are fetched when it is decided what is missing.
      busy.onRequest = ({ name }) => {
        if (!clusters.has(name)) return;
        collected++;
        before = before.then(() => collect(to));
        return before;
      };
      await fetchAll(to, busy);
      expect(collected).toBeGreaterThan(0);
      await collect(to);
      for (const [name, id] of await ownRefs(from)) expect((await ownRefs(to)).get(name)).toBe(id);
      await gitFsck(to.path);
    },
  );
});
