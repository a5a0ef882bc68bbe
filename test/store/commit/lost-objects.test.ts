import { rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { commitVersion } from '../../../store/index.ts';
import { diskOf } from '../disks.ts';
import { git, gitFsck } from '../git.ts';
import { newStore, reopen } from '../new-store.ts';
import { diskBytes } from './disk-bytes.ts';

/** More than one level: clusters 0 and 1, and one in the next node. */
const DISK = diskOf([1, 2, ...Array<number>(300).fill(0), 3]);

/** A version of a file that nobody has written to for a moment, from which objects can be lost. */
async function committed() {
  const made = await newStore();
  const image = made.file('web.raw');
  await writeFile(image, DISK);
  await sleep(60);
  const request = { disks: [{ name: 'vda', path: image }] };
  const first = await commitVersion(made.store, request);
  /** Removes objects, then commits the file once more, as another process does. */
  const commitWithout = async (
    lost: readonly string[],
    change: { branch?: string; allowEmpty?: boolean },
  ) => {
    const ids = await Promise.all(lost.map((name) => git(made.path, 'rev-parse', name)));
    for (const id of ids) await rm(made.store.objects.loose.path(id));
    return commitVersion(await reopen(made.path), { ...request, ...change });
  };
  const forget = () => rm(`${made.path}/imgstore`, { recursive: true });
  return { ...made, first, image, commitWithout, forget };
}

test('commitVersion stores lost clusters again although the branch holds them, and counts them', async () => {
  const { first, path, commitWithout, forget } = await committed();
  await forget();
  const again = await commitWithout(['web:disks/vda/00/00', 'web:disks/vda/01/2e'], {});
  expect(again).toMatchObject({ commit: first.commit, unchanged: true, newObjects: 2 });
  expect(again.storedBytes).toBeGreaterThan(0);
  expect(again.disks).toMatchObject([{ newClusters: 2 }]);
  await gitFsck(path);
});

test.each([
  ['the root of the map', 'web:disks/vda'],
  ['a lower tree of the map', 'web:disks/vda/01'],
])('commitVersion does not trust the stat cache when %s is lost', async (_, lost) => {
  const { first, path, commitWithout } = await committed();
  const again = await commitWithout([lost], {});
  expect(again).toMatchObject({ commit: first.commit, unchanged: true, newObjects: 1 });
  await gitFsck(path);
});

test('commitVersion makes a whole new version by allowEmpty when a tree is lost', async () => {
  const { first, path, commitWithout } = await committed();
  const again = await commitWithout(['web:disks/vda/01'], { allowEmpty: true });
  expect(again).toMatchObject({ parents: [first.commit], unchanged: false });
  expect((await diskBytes(await reopen(path), 'web')).equals(DISK)).toBe(true);
  await gitFsck(path);
});

test('commitVersion starts a new branch at a version of which it stores the lost trees again', async () => {
  const { first, path, commitWithout } = await committed();
  const other = await commitWithout(['web:disks/vda', 'web:disks/vda/00'], { branch: 'other' });
  expect(other).toMatchObject({ commit: first.commit, newBranch: true, unchanged: true, newObjects: 2 });
  await gitFsck(path);
});

test('commitVersion counts no objects of an unchanged version of which nothing is lost', async () => {
  const { commitWithout, forget } = await committed();
  expect(await commitWithout([], {})).toMatchObject({ unchanged: true, newObjects: 0, storedBytes: 0 });
  await forget();
  expect(await commitWithout([], {})).toMatchObject({ unchanged: true, newObjects: 0, storedBytes: 0 });
});
