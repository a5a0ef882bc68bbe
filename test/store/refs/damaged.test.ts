import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ObjectId } from '../../../objects/index.ts';
import {
  BRANCHES,
  createBranch,
  createTag,
  deleteRef,
  listImages,
  listTags,
  logVersions,
  measureStore,
  resolveRevision,
  summarizeVersion,
  TAGS,
} from '../../../store/index.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, reopen, type TestStore } from '../new-store.ts';

const ABSENT = 'a'.repeat(64);

/** Takes a loose object away. */
function lose(path: string, id: ObjectId): void {
  rmSync(join(path, 'objects', id.slice(0, 2), id.slice(2)));
}

/** Two branches of two versions, of which `bad` is spoilt. */
async function spoilt(spoil: (made: TestStore, bad: readonly ObjectId[]) => Promise<void> | void) {
  const made = await newStore();
  const good: ObjectId[] = [];
  const bad: ObjectId[] = [];
  for (const plan of [[1], [2]]) good.push((await commitBytes(made, 'good', diskOf(plan))).commit);
  for (const plan of [[3], [4]]) bad.push((await commitBytes(made, 'bad', diskOf(plan))).commit);
  await spoil(made, bad);
  return { ...made, store: await reopen(made.path), good, bad };
}

const REF = 'refs/heads/bad';
const writeRef = (text: string) => (made: TestStore) => writeFileSync(join(made.path, REF), text);

const DAMAGES: readonly (readonly [string, Parameters<typeof spoilt>[0], string])[] = [
  ['is empty', writeRef(''), 'is empty'],
  ['holds garbage', writeRef('junk\n'), "holds 'junk'"],
  ['holds zeros of a power failure', writeRef('\0'.repeat(65)), 'no object id'],
  ['leads to a circle', writeRef('ref: refs/heads/bad\n'), 'lead to each other'],
  ['leads to no branch', writeRef('ref: refs/heads/none\n'), "leads to 'refs/heads/none', which does not"],
  ['names an object that is not there', writeRef(`${ABSENT}\n`), `${ABSENT} is not in the store`],
  ['has lost its last commit', (made, bad) => lose(made.path, bad[1]!), 'is not in the store'],
  [
    'names a tree',
    async (made) => writeRef(`${await git(made.path, 'rev-parse', 'bad^{tree}')}\n`)(made),
    'leads to a tree',
  ],
  [
    'names a blob',
    async (made) => writeRef(`${await git(made.path, 'rev-parse', 'bad:image.json')}\n`)(made),
    'leads to a blob',
  ],
];

const HISTORY: readonly (readonly [string, Parameters<typeof spoilt>[0], string])[] = [
  ['has lost a parent', (made, bad) => lose(made.path, bad[0]!), 'the parent of version'],
  [
    'has an empty file for a parent',
    (made, bad) => {
      const path = join(made.path, 'objects', bad[0]!.slice(0, 2), bad[0]!.slice(2));
      rmSync(path);
      writeFileSync(path, '');
    },
    'the parent of version',
  ],
  [
    'has lost the tree of its last version',
    async (made) => lose(made.path, await git(made.path, 'rev-parse', 'bad^{tree}')),
    'is not in the store',
  ],
];

async function log(store: TestStore['store'], revision?: string) {
  const damaged: string[] = [];
  const ids: string[] = [];
  for await (const version of logVersions(store, { revision }, ({ message }) => damaged.push(message))) {
    ids.push(version.id);
    if (version.damaged !== undefined) damaged.push(version.damaged);
  }
  return { damaged, ids };
}

describe.each([...DAMAGES, ...HISTORY])('beside a branch that %s', (_, spoil, reason) => {
  test('listImages and logVersions list the others and tell what is wrong, and what to do', async () => {
    const { store, good } = await spoilt(spoil);
    const images = await listImages(store);
    expect(images.map(({ name }) => name)).toEqual(['bad', 'good']);
    expect(images[0]!.damaged).toMatch(/^branch 'bad': .*(imgstore branch -f|imgstore fsck)/);
    expect(images[0]!.damaged).toContain(reason);
    expect(images[1]).toMatchObject({ id: good[1], versions: 2, damaged: undefined });
    const { damaged, ids } = await log(store);
    expect(damaged).toEqual([expect.stringContaining(reason)]);
    for (const id of good) expect(ids).toContain(id);
    expect((await log(store, 'good')).damaged).toEqual([]);
  });

  test('measureStore counts the others, and what is left', async () => {
    const { store } = await spoilt(spoil);
    const { images } = await measureStore(store);
    expect(images).toMatchObject([
      { name: 'bad', damaged: expect.stringContaining(reason) },
      { name: 'good', versions: 2, uniqueBytes: 8192 },
    ]);
    expect(images[1]).not.toHaveProperty('damaged');
  });

  test('commitVersion stores other images, old and new, and known content', async () => {
    const made = await spoilt(spoil);
    expect((await summarizeVersion(made.store, 'good')).refs).toEqual(['good']);
    const { commit } = await commitBytes(made, 'good', diskOf([7]));
    expect((await commitBytes(made, 'new', diskOf([8]))).parents).toEqual([]);
    expect(await commitBytes(made, 'copy', diskOf([7]))).toMatchObject({ commit, unchanged: true });
  });

  test('deleteRef removes it, and git finds the rest in order', async () => {
    const made = await spoilt(spoil);
    await createBranch(made.store, 'keep', 'good');
    await deleteRef(made.store, BRANCHES, 'bad');
    expect(await git(made.path, 'for-each-ref', '--format=%(refname:short)')).toBe('good\nkeep');
    expect(await git(made.path, 'rev-list', '--count', '--all')).toBe('2');
  });

  test('createBranch by force puts it at a version', async () => {
    const { store, path, good } = await spoilt(spoil);
    await createBranch(store, 'bad', 'good', true);
    expect(await git(path, 'rev-parse', 'bad')).toBe(good[1]);
    expect((await listImages(store)).every(({ damaged }) => damaged === undefined)).toBe(true);
    await deleteRef(store, BRANCHES, 'bad');
  });
});

test.each(DAMAGES.filter(([what]) => !what.startsWith('leads to no')))(
  'commitVersion refuses a branch that %s, and changes nothing of it',
  async (_, spoil, reason) => {
    const made = await spoilt(spoil);
    const error: unknown = await commitBytes(made, 'bad', diskOf([9])).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: 'DAMAGED',
      message: expect.stringMatching(/imgstore branch -f bad/),
    });
    if (!reason.startsWith('leads to a')) expect(String(error)).toContain(reason);
    expect((await listImages(made.store))[0]).toMatchObject({ name: 'bad', damaged: expect.any(String) });
  },
);

test('a message about a damaged branch names the last version of its log that is there', async () => {
  const { store, path, bad } = await spoilt((made, ids) => lose(made.path, ids[1]!));
  const back = `imgstore branch -f bad ${bad[0]!.slice(0, 12)}`;
  expect((await listImages(store))[0]!.damaged).toContain(back);
  await expect(resolveRevision(store, 'bad')).rejects.toMatchObject({
    message: expect.stringContaining(back),
  });
  await createBranch(store, 'bad', bad[0]!.slice(0, 12), true);
  expect(await git(path, 'rev-parse', 'bad')).toBe(bad[0]);
});

test('listTags lists damaged tags with what is wrong, and tags of all kinds of objects', async () => {
  const { store, path, good } = await spoilt(async (made) => {
    await git(made.path, 'tag', 'tree', 'good^{tree}');
    await git(made.path, 'tag', '-a', '-m', 'inner', 'inner', 'good');
    await git(made.path, 'tag', '-a', '-m', 'outer', 'outer', 'inner');
    await git(made.path, 'tag', '-a', '-m', 'half', 'half', 'bad');
    lose(made.path, await git(made.path, 'rev-parse', 'bad'));
    writeFileSync(join(made.path, 'refs/tags/empty'), '');
    writeFileSync(join(made.path, 'refs/tags/absent'), `${ABSENT}\n`);
  });
  const tags = await listTags(store);
  expect(tags.map(({ name, type }) => [name, type])).toEqual([
    ['absent', undefined],
    ['empty', undefined],
    ['half', undefined],
    ['inner', 'commit'],
    ['outer', 'commit'],
    ['tree', 'tree'],
  ]);
  expect(tags[4]).toMatchObject({ target: good[1], damaged: undefined });
  for (const name of ['absent', 'empty', 'half']) {
    const tag = tags.find((each) => each.name === name)!;
    expect(tag.damaged).toContain(`imgstore tag -d ${name}`);
    await createTag(store, name, 'good', { force: true });
    expect(await git(path, 'rev-parse', name)).toBe(good[1]);
  }
  writeFileSync(join(path, 'refs/tags/empty'), '');
  expect(await deleteRef(store, TAGS, 'empty')).toBeUndefined();
  expect(await git(path, 'tag', '-l', 'empty')).toBe('');
});

test('resolveRevision passes over an unreadable tag for the branch of its name', async () => {
  const { store, path, good } = await spoilt(() => {});
  writeFileSync(join(path, 'refs/tags/good'), '');
  expect((await resolveRevision(store, 'good')).id).toBe(good[1]);
});

test('resolveRevision tells that HEAD names a branch that is gone', async () => {
  const { store, path } = await spoilt(() => {});
  await git(path, 'symbolic-ref', 'HEAD', 'refs/heads/gone');
  await expect(resolveRevision(store, 'HEAD')).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining("HEAD names 'gone'"),
  });
});

test('listImages gives commits that git users made without disks and without damage', async () => {
  const { store, path, good } = await spoilt(() => {});
  const tree = await git(path, 'rev-parse', 'good:disks');
  const id = await git(path, 'commit-tree', '-m', 'merge', '-p', good[0]!, '-p', 'good', '-p', 'bad', tree);
  await git(path, 'update-ref', 'refs/heads/foreign', id);
  await git(path, 'pack-refs', '--all');
  expect((await listImages(store)).find(({ name }) => name === 'foreign')).toMatchObject({
    id,
    versions: 5,
    disks: [],
    damaged: undefined,
  });
  expect((await log(store, 'foreign')).ids).toHaveLength(5);
});
