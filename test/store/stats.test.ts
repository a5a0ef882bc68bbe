import { statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isZero } from '../../block/index.ts';
import { createTag, measureStore } from '../../store/index.ts';
import { diskOf, diskPlans, planned } from './disks.ts';
import { countObjects, git } from './git.ts';
import { commitBytes, listFiles, newStore, reopen, SMALL } from './new-store.ts';

/** The clusters of a disk that are not zeros, as text that tells them apart. */
function clusters(bytes: Buffer): string[] {
  const all: string[] = [];
  for (let at = 0; at < bytes.length; at += SMALL) {
    const cluster = bytes.subarray(at, at + SMALL);
    if (!isZero(cluster)) all.push(cluster.toString('latin1'));
  }
  return all;
}

function model(disks: readonly Buffer[]) {
  const all = disks.flatMap(clusters);
  const bytes = (list: Iterable<string>) => [...list].reduce((sum, cluster) => sum + cluster.length, 0);
  const [logicalBytes, uniqueBytes] = [bytes(all), bytes(new Set(all))];
  return {
    virtualBytes: disks.reduce((sum, disk) => sum + disk.length, 0),
    logicalBytes,
    uniqueBytes,
    saved: { dedup: logicalBytes - uniqueBytes, delta: 0, compression: expect.any(Number) as number },
  };
}

/** Bytes of what holds objects and of the indexes that lead to them. */
function objectBytes(path: string): number {
  return listFiles(join(path, 'objects'))
    .filter((name) => /^[0-9a-f]{2}\/|\.(pack|idx|rev)$/.test(name))
    .reduce((sum, name) => sum + statSync(join(path, 'objects', name)).size, 0);
}

test('measureStore counts what a model counts', async () => {
  const plan = diskPlans(24, 0, 1, 100, SMALL - 1);
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(plan, { minLength: 1, maxLength: 4, selector: String }),
      fc.array(plan, { minLength: 1, maxLength: 2 }),
      async (...branches) => {
        const [web, db] = branches.map((list) => list.map(planned)) as [Buffer[], Buffer[]];
        const made = await newStore(SMALL, { unpackLimit: 4 });
        for (const bytes of web) await commitBytes(made, 'web', bytes, { allowEmpty: true });
        for (const bytes of db) await commitBytes(made, 'db', bytes, { allowEmpty: true });
        const stats = await measureStore(made.store);
        expect(stats).toMatchObject(model([...web, ...db]));
        expect(stats.images).toEqual([
          { name: 'db', versions: db.length, ...model(db) },
          { name: 'web', versions: web.length, ...model(web) },
        ]);
        expect(stats.objects).toEqual(await countObjects(made.path));
      },
    ),
    { numRuns: 10 },
  );
});

test('measureStore adds up the bytes of loose objects and of packs', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 3]));
  const loose = await measureStore(made.store);
  expect(loose).toMatchObject({ packs: 0, storedBytes: objectBytes(made.path) });
  expect(loose.loose).toBe(Object.values(loose.objects).reduce((sum, count) => sum + count));
  await git(made.path, 'repack', '-adq');
  const store = await reopen(made.path);
  await commitBytes({ ...made, store }, 'web', diskOf([1, 2, 4]));
  const both = await measureStore(store);
  expect(both).toMatchObject({ packs: 1, storedBytes: objectBytes(made.path) });
  expect(both.objects).toEqual(await countObjects(made.path));
});

test('measureStore counts a version that two images share once in all and once in each', async () => {
  const made = await newStore();
  const first = diskOf([1, 2]);
  const { commit } = await commitBytes(made, 'web', first);
  await commitBytes(made, 'db', diskOf([1, 3]), { parent: commit });
  const stats = await measureStore(made.store);
  expect(stats).toMatchObject(model([first, diskOf([1, 3])]));
  expect(stats.images.map(({ name, versions }) => [name, versions])).toEqual([
    ['db', 2],
    ['web', 1],
  ]);
});

test('measureStore counts only the revisions that are asked for, under the names they were given by', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1]));
  await commitBytes(made, 'web', diskOf([2]));
  await createTag(made.store, 'v1', 'web~1', { message: 'one' });
  const stats = await measureStore(made.store, ['v1']);
  expect(stats.images).toEqual([{ name: 'v1', versions: 1, ...model([diskOf([1])]) }]);
  expect(stats).toMatchObject(model([diskOf([1])]));
  await expect(measureStore(made.store, ['none'])).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('measureStore of a store without versions is all zeros', async () => {
  const { store } = await newStore();
  expect(await measureStore(store)).toEqual({
    ...{ virtualBytes: 0, logicalBytes: 0, uniqueBytes: 0, storedBytes: 0, loose: 0, packs: 0, images: [] },
    objects: { blob: 0, tree: 0, commit: 0, tag: 0 },
    saved: { dedup: 0, delta: 0, compression: 0 },
    deltas: 0,
    chains: [],
  });
});
