import { expect, test } from 'vitest';
import { MODE_FILE, MODE_FOLDER } from '../../../objects/index.ts';
import { DiskSource, findDisk, readVersion, summarizeVersion } from '../../../store/index.ts';
import { tryReadVersion } from '../../../store/version/version.ts';
import { diskOf } from '../disks.ts';
import { git, gitWith } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL } from '../new-store.ts';
import { storeWithCommits } from '../refs/some-refs.ts';
import { commitTree } from './make-version.ts';

const IMAGE = JSON.stringify({
  version: 1,
  clusterSize: 4096,
  disks: { vda: { virtualSize: 8192, levels: 1 } },
});
const EMPTY_TREE = '6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321';

test('readVersion throws DAMAGED saying that a commit was not made by imgstore', async () => {
  const { store, ids } = await storeWithCommits(1);
  expect(() => readVersion(store.objects, ids[0]!)).toThrow(
    expect.objectContaining({ code: 'DAMAGED', message: expect.stringContaining('not made by imgstore') }),
  );
  expect(tryReadVersion(store.objects, ids[0]!)).toBeUndefined();
});

test('readVersion throws DAMAGED when image.json is a folder', async () => {
  const { store } = await newStore();
  const id = await commitTree(store, { 'image.json': [] });
  expect(() => readVersion(store.objects, id)).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
});

test.each([MODE_FILE, MODE_FOLDER])('readVersion throws DAMAGED for disks/stray of mode %s', async (mode) => {
  const { store } = await newStore();
  const name = mode === MODE_FILE ? 'vda' : 'stray';
  const id = await commitTree(store, { 'image.json': IMAGE, disks: [{ mode, name, id: EMPTY_TREE }] });
  expect(() => readVersion(store.objects, id)).toThrow(
    expect.objectContaining({
      code: 'DAMAGED',
      message: expect.stringMatching(new RegExp(`^version ${id.slice(0, 12)}: disks/${name}`)),
    }),
  );
});

test('readVersion reads a disk of zeros of which git kept no folder', async () => {
  const { store, path } = await newStore();
  const stream = `commit refs/heads/zero\ncommitter C <c@x> 1700000000 +0000\ndata 1\nm\nM 100644 inline image.json\ndata ${IMAGE.length}\n${IMAGE}\n\ndone\n`;
  gitWith(path, { input: stream }, 'fast-import', '--quiet', '--done');
  const opened = await reopen(path);
  const version = readVersion(opened.objects, await git(path, 'rev-parse', 'zero'));
  expect(version.disks).toMatchObject([
    { name: 'vda', virtualSize: 8192, map: { id: undefined, levels: 1 } },
  ]);
  const bytes = Buffer.alloc(8192, 1);
  await new DiskSource(opened.objects, version.disks[0]!).read(0, bytes);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  store.close();
});

test('readVersion throws NOT_FOUND for an id that is not there and DAMAGED for one that is no commit', async () => {
  const { store, path, ids } = await storeWithCommits(1);
  expect(() => readVersion(store.objects, 'e'.repeat(64))).toThrow(
    expect.objectContaining({ code: 'NOT_FOUND' }),
  );
  const tree = await git(path, 'rev-parse', `${ids[0]}^{tree}`);
  expect(() => readVersion(store.objects, tree)).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
});

test('findDisk gives the disk that is named, or the only one', async () => {
  const { store } = await newStore();
  const image = JSON.parse(IMAGE);
  const two = { ...image, disks: { vda: image.disks.vda, vdb: image.disks.vda } };
  const one = readVersion(store.objects, await commitTree(store, { 'image.json': IMAGE }));
  const both = readVersion(store.objects, await commitTree(store, { 'image.json': JSON.stringify(two) }));
  expect(findDisk(one, undefined).name).toBe('vda');
  expect(findDisk(both, 'vdb').name).toBe('vdb');
  expect(() => findDisk(both, undefined)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  expect(() => findDisk(both, 'vdc')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
});

test('summarizeVersion tells disks, refs, files and what changed', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 0, 3], SMALL, 100));
  const { commit } = await commitBytes(made, 'web', diskOf([1, 5, 0, 3], SMALL, 100), {
    attachments: [{ name: 'notes', path: made.file('web.raw') }],
  });
  await git(made.path, 'tag', 'v1', commit);
  const summary = await summarizeVersion(made.store, 'web');
  expect(summary).toMatchObject({
    id: commit,
    refs: ['web', 'v1'],
    disks: [{ dataBytes: 3 * SMALL - 100, disk: { name: 'vda' } }],
    files: [{ name: 'notes', size: 4 * SMALL - 100 }],
    changedBytes: SMALL,
  });
  expect((await summarizeVersion(made.store, 'web~1')).changedBytes).toBeUndefined();
});
