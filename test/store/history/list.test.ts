import { expect, test } from 'vitest';
import {
  createBranch,
  createTag,
  type LogStart,
  listImages,
  logVersions,
  type Store,
} from '../../../store/index.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore } from '../new-store.ts';
import { someCommits } from '../refs/some-refs.ts';

/** Two images; `web` has three versions, `db` was forked from its first and has two of its own. */
async function twoImages() {
  const made = await newStore();
  const at = async (date: number, branch: string, plan: number[], parent?: string) => {
    process.env.GIT_COMMITTER_DATE = `${1_700_000_000 + date} +0000`;
    return (await commitBytes(made, branch, diskOf(plan), { parent })).commit;
  };
  try {
    const web = [await at(1, 'web', [1]), await at(3, 'web', [2]), await at(5, 'web', [3])];
    const db = [await at(2, 'db', [4], web[0]!), await at(4, 'db', [5, 6])];
    return { ...made, web, db };
  } finally {
    delete process.env.GIT_COMMITTER_DATE;
  }
}

async function log(store: Store, start: LogStart) {
  const versions: { id: string; branch: string | undefined; refs: readonly string[] }[] = [];
  for await (const { id, branch, refs } of logVersions(store, start)) versions.push({ id, branch, refs });
  return versions;
}

test('logVersions gives the versions of all images, newest first, with their refs', async () => {
  const { store, web, db } = await twoImages();
  await createTag(store, 'v1', web[1]!);
  const versions = await log(store, {});
  expect(versions.map(({ id }) => id)).toEqual([web[2], db[1], web[1], db[0], web[0]]);
  expect(versions.map(({ refs }) => refs)).toEqual([['web'], ['db'], ['v1'], [], []]);
});

test('logVersions gives the versions before a revision, with the branch that was asked for', async () => {
  const { store, web, db } = await twoImages();
  const versions = await log(store, { revision: 'web~1' });
  expect(versions.map(({ id, branch }) => [id, branch])).toEqual([
    [web[1], 'web'],
    [web[0], 'web'],
  ]);
  expect((await log(store, { revision: 'HEAD' })).map(({ id }) => id)).toEqual([db[1], db[0], web[0]]);
  expect((await log(store, { revision: db[0]! })).map(({ id }) => id)).toEqual([db[0], web[0]]);
});

test('logVersions goes from tags too when all is asked for', async () => {
  const { store, web } = await twoImages();
  await createBranch(store, 'gone', web[1]!);
  const [lost] = await someCommits(store, 1, [web[1]!]);
  await createTag(store, 'lost', lost!);
  expect((await log(store, {})).some(({ id }) => id === lost)).toBe(false);
  expect((await log(store, { all: true })).some(({ id }) => id === lost)).toBe(true);
});

test('logVersions goes from a revision and all else when both are asked for', async () => {
  const { store, web, db } = await twoImages();
  await createBranch(store, 'web', web[1]!, true);
  const versions = await log(store, { revision: web[2]!, all: true });
  expect(versions.map(({ id, branch }) => [id, branch])).toEqual([
    [web[2], undefined],
    [db[1], 'db'],
    [web[1], 'web'],
    [db[0], 'db'],
    [web[0], 'db'],
  ]);
});

test('logVersions gives commits that imgstore did not make without disks', async () => {
  const { store, path } = await newStore();
  const [id] = await someCommits(store, 1);
  await git(path, 'update-ref', 'refs/heads/foreign', id!);
  for await (const version of logVersions(store, {})) expect(version).toMatchObject({ id, disks: [] });
});

test('logVersions passes over tags of what is no commit', async () => {
  const { store, path, web } = await twoImages();
  await git(path, 'tag', 'tree', `${web[0]}^{tree}`);
  expect(await log(store, { all: true })).toHaveLength(5);
});

test('logVersions throws NOT_FOUND for an unknown revision', async () => {
  const { store } = await newStore();
  await expect(log(store, { revision: 'none' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('logVersions and listImages give nothing for a store without versions', async () => {
  const { store } = await newStore();
  expect(await log(store, { all: true })).toEqual([]);
  expect(await listImages(store)).toEqual([]);
});

test('listImages gives every branch by name with its last version and their number', async () => {
  const { store, web, db } = await twoImages();
  const images = await listImages(store);
  expect(images.map(({ name, id, versions }) => [name, id, versions])).toEqual([
    ['db', db[1], 3],
    ['web', web[2], 3],
  ]);
  expect(images[0]!.disks).toMatchObject([{ name: 'vda', virtualSize: 8192 }]);
  expect(images[0]!.commit!.committer.seconds).toBe(1_700_000_004);
});
