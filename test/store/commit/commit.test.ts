import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type CommitRequest, commitVersion, readVersion, resolveRevision } from '../../../store/index.ts';
import { noise, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { countObjects, git, gitFsck, gitWith } from '../git.ts';
import { commitBytes, listFiles, newStore, reopen, SMALL, type TestStore } from '../new-store.ts';
import { diskBytes } from './disk-bytes.ts';

/** How many objects of each kind a commit adds. */
async function added(path: string, commit: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await countObjects(path);
  await commit();
  const after = await countObjects(path);
  return Object.fromEntries(Object.keys(after).map((kind) => [kind, after[kind]! - before[kind]!]));
}

describe('a first version', () => {
  test('commitVersion stores a disk as blobs, a map and a commit that git understands', async () => {
    const made = await newStore();
    const disk = diskOf([1, 0, 2, 1]);
    const result = await commitBytes(made, 'web', disk, { message: 'First\n\nwith words\n' });
    expect(result).toMatchObject({
      branch: 'web',
      parents: [],
      unchanged: false,
      newObjects: 2 + 1 + 3 + 1,
      disks: [{ name: 'vda', virtualSize: disk.length, clusters: 3, newClusters: 2 }],
    });
    expect(await countObjects(made.path)).toEqual({ blob: 3, tree: 3, commit: 1, tag: 0 });
    expect(await git(made.path, 'ls-tree', '-r', '--name-only', 'web')).toBe(
      'disks/vda/00\ndisks/vda/02\ndisks/vda/03\nimage.json',
    );
    expect(await git(made.path, 'log', '--format=%an <%ae>|%cn|%B', 'web')).toBe(
      'A. Uthor <author@example.org>|C. Mitter|First\n\nwith words\n',
    );
    expect(await git(made.path, 'rev-parse', 'web^{tree}', 'HEAD')).toBe(`${result.tree}\n${result.commit}`);
    expect(await git(made.path, 'reflog', 'show', '--format=%gs', 'web')).toBe('commit (initial): First');
    expect((await diskBytes(made.store, 'web')).equals(disk)).toBe(true);
    await gitFsck(made.path);
  });

  test('commitVersion names branch and message after the file when neither is given', async () => {
    const { store, path, file } = await newStore();
    await writeFile(file('my disk.raw'), diskOf([1]));
    const result = await commitVersion(store, { disks: [{ name: 'vda', path: file('my disk.raw') }] });
    expect(result.branch).toBe('my-disk');
    expect(await git(path, 'log', '--format=%s', 'my-disk')).toBe('Store my disk.raw');
  });

  test.each([
    ['of zeros', Buffer.alloc(10 * SMALL), 0],
    ['of no bytes', Buffer.alloc(0), 0],
    ['of one byte', Buffer.of(7), 1],
    ['that ends within a cluster', noise(5 * SMALL + 513, 3), 6],
    ['that ends with zeros', Buffer.concat([noise(SMALL, 3), Buffer.alloc(100)]), 1],
    ['of one full cluster', noise(SMALL, 3), 1],
    ['of 256 clusters', noise(256 * SMALL, 3), 256],
    ['of 257 clusters', noise(256 * SMALL + 1, 3), 257],
  ])('commitVersion stores a disk %s', async (_, disk, clusters) => {
    const made = await newStore(SMALL, { unpackLimit: 100 });
    const result = await commitBytes(made, 'web', disk);
    expect(result.disks).toMatchObject([{ virtualSize: disk.length, clusters }]);
    expect((await diskBytes(await reopen(made.path), 'web')).equals(disk)).toBe(true);
    await gitFsck(made.path);
  });

  test('commitVersion stores several disks and attachments', async () => {
    const { store, path, file } = await newStore();
    await writeFile(file('a.raw'), diskOf([1, 2]));
    await writeFile(file('b.raw'), diskOf([2, 3, 3]));
    await writeFile(file('domain.xml'), '<domain/>\n');
    await writeFile(file('empty'), '');
    const request: CommitRequest = {
      disks: [
        { name: 'vdb', path: file('b.raw') },
        { name: 'vda', path: file('a.raw') },
      ],
      attachments: [
        { name: 'nvram', path: file('empty') },
        { name: 'domain.xml', path: file('domain.xml') },
      ],
      branch: 'web',
    };
    const result = await commitVersion(store, request);
    expect(result.disks.map(({ name, clusters, newClusters }) => [name, clusters, newClusters])).toEqual([
      ['vdb', 3, 2],
      ['vda', 2, 1],
    ]);
    expect(await git(path, 'show', 'web:files/domain.xml')).toBe('<domain/>');
    const version = readVersion(store.objects, result.commit);
    expect(version.disks.map(({ name }) => name)).toEqual(['vdb', 'vda']);
    expect(version.files.map(({ name }) => name)).toEqual(['domain.xml', 'nvram']);
    expect((await diskBytes(store, 'web', 'vdb')).equals(diskOf([2, 3, 3]))).toBe(true);
    await gitFsck(path);
    expect((await commitVersion(store, request)).unchanged).toBe(true);
    await writeFile(file('empty'), 'no more');
    expect(await commitVersion(store, request)).toMatchObject({ unchanged: false, parents: [result.commit] });
  });
});

describe('a further version', () => {
  test('commitVersion of the same bytes makes nothing and gives the version that there is', async () => {
    const made = await newStore();
    const first = await commitBytes(made, 'web', diskOf([1, 2]));
    const files = listFiles(made.path);
    const again = await commitBytes(made, 'web', diskOf([1, 2]));
    expect(again).toMatchObject({
      commit: first.commit,
      tree: first.tree,
      unchanged: true,
      newObjects: 0,
      storedBytes: 0,
    });
    expect(listFiles(made.path)).toEqual(files);
    expect(await made.store.refs.logs.read('refs/heads/web')).toHaveLength(1);
  });

  test('commitVersion makes a version of the same bytes when it may be empty', async () => {
    const made = await newStore();
    const first = await commitBytes(made, 'web', diskOf([1, 2]));
    const again = await commitBytes(made, 'web', diskOf([1, 2]), { allowEmpty: true, message: 'again' });
    expect(again).toMatchObject({
      parents: [first.commit],
      tree: first.tree,
      unchanged: false,
      newObjects: 1,
    });
    await gitFsck(made.path);
  });

  test('commitVersion stores one blob and one tree a level for one changed cluster', async () => {
    const made = await newStore(SMALL, { unpackLimit: 100 });
    const disk = noise(300 * SMALL, 1);
    await commitBytes(made, 'web', disk);
    noise(SMALL, 2).copy(disk, 299 * SMALL);
    // Two nodes of the map, disks/ and the root: image.json says the same and is there.
    expect(await added(made.path, () => commitBytes(made, 'web', disk))).toEqual({
      blob: 1,
      tree: 4,
      commit: 1,
      tag: 0,
    });
    disk.fill(0, 0, SMALL);
    expect(await added(made.path, () => commitBytes(made, 'web', disk))).toEqual({
      blob: 0,
      tree: 4,
      commit: 1,
      tag: 0,
    });
    expect((await diskBytes(made.store, 'web')).equals(disk)).toBe(true);
  });

  test('commitVersion hangs the old map into slot 00 when a disk grows past a power of 256 clusters', async () => {
    const made = await newStore(SMALL, { unpackLimit: 100 });
    const disk = Buffer.concat([noise(200 * SMALL, 1), Buffer.alloc(56 * SMALL)]);
    await commitBytes(made, 'web', disk);
    const old = await git(made.path, 'rev-parse', 'web:disks/vda');
    const grown = Buffer.concat([disk, Buffer.alloc(SMALL), noise(SMALL, 9)]);
    // The blob of the cluster and image.json; the new top and its second node, disks/ and the root.
    expect(await added(made.path, () => commitBytes(made, 'web', grown))).toEqual({
      blob: 2,
      tree: 4,
      commit: 1,
      tag: 0,
    });
    expect(await git(made.path, 'rev-parse', 'web:disks/vda/00')).toBe(old);
    expect((await diskBytes(made.store, 'web')).equals(grown)).toBe(true);
    await commitBytes(made, 'web', disk, { message: 'shrunk' });
    expect(await git(made.path, 'rev-parse', 'web:disks/vda')).toBe(old);
    expect((await diskBytes(made.store, 'web')).equals(disk)).toBe(true);
    await gitFsck(made.path);
  });

  test('commitVersion counts a disk that grew by zeros as changed', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', diskOf([1]));
    const result = await commitBytes(made, 'web', diskOf([1, 0]));
    expect(result).toMatchObject({ unchanged: false, disks: [{ newClusters: 0 }] });
  });

  test('commitVersion goes on from a commit that imgstore did not make', async () => {
    const made = await newStore();
    const { commit } = await commitBytes(made, 'web', diskOf([1]));
    const tree = gitWith(made.path, {}, 'mktree');
    const foreign = await git(made.path, 'commit-tree', '-m', 'by hand', '-p', commit, tree);
    await git(made.path, 'update-ref', 'refs/heads/web', foreign);
    expect(await commitBytes(made, 'web', diskOf([1, 2]))).toMatchObject({ parents: [foreign] });
    await gitFsck(made.path);
  });
});

describe('a new branch', () => {
  test('commitVersion of content that another branch has gives its version', async () => {
    const made = await newStore();
    const { commit } = await commitBytes(made, 'web', diskOf([1, 2]));
    await commitBytes(made, 'web', diskOf([1, 3]));
    const result = await commitBytes(made, 'copy', diskOf([1, 2]));
    expect(result).toMatchObject({ commit, branch: 'copy', unchanged: true, newObjects: 0 });
    expect(await git(made.path, 'rev-parse', 'copy')).toBe(commit);
  });

  test('commitVersion starts a branch at the parent that is named', async () => {
    const made = await newStore();
    const { commit } = await commitBytes(made, 'web', diskOf([1, 2]));
    const fork = await commitBytes(made, 'db', diskOf([1, 3]), { parent: 'web' });
    expect(fork).toMatchObject({ parents: [commit], disks: [{ newClusters: 1 }] });
    await expect(commitBytes(made, 'x', diskOf([1]), { parent: 'none' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(commitBytes(made, 'db', diskOf([4]), { parent: 'web' })).rejects.toMatchObject({
      code: 'USAGE',
    });
    expect((await commitBytes(made, 'db', diskOf([4]), { parent: 'db' })).parents).toEqual([fork.commit]);
  });

  test('commitVersion makes a version on the parent that is named when another branch has the content too', async () => {
    const made = await newStore();
    const base = await commitBytes(made, 'web', diskOf([1, 2]));
    const upgraded = await commitBytes(made, 'web', diskOf([1, 3]));
    const fork = await commitBytes(made, 'db', diskOf([1, 3]), { parent: 'web~1', message: 'Forked' });
    expect(fork).toMatchObject({ parents: [base.commit], tree: upgraded.tree, unchanged: false });
    expect(await git(made.path, 'log', '-1', '--format=%s', 'db')).toBe('Forked');
    const same = await commitBytes(made, 'copy', diskOf([1, 3]), { parent: 'web' });
    expect(same).toMatchObject({ commit: upgraded.commit, unchanged: true });
  });

  test('commitVersion starts the branch of an overlay at the version that its backing file holds', async () => {
    const { store, file } = await newStore();
    await qemuImg('create', '-f', 'qcow2', file('base.qcow2'), '1M');
    await qemuIo(file('base.qcow2'), 'write -P 1 0 128k');
    await sleep(60);
    const base = await commitVersion(store, { disks: [{ name: 'vda', path: file('base.qcow2') }] });
    await qemuImg('create', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', file('top.qcow2'));
    await qemuIo(file('top.qcow2'), 'write -P 2 64k 4k');
    const top = await commitVersion(store, { disks: [{ name: 'vda', path: file('top.qcow2') }] });
    expect(top).toMatchObject({ branch: 'top', parents: [base.commit], disks: [{ newClusters: 1 }] });
    expect((await resolveRevision(store, 'top~1')).id).toBe(base.commit);
  });

  test('commitVersion finds the parent of an overlay that keeps its data in another file', async () => {
    const { store, file } = await newStore();
    await writeFile(file('base.raw'), diskOf([1, 2, 3]));
    await sleep(60);
    const base = await commitVersion(store, { disks: [{ name: 'vda', path: file('base.raw') }] });
    const top = file('top.qcow2');
    const data = `data_file=${file('top.data')}`;
    await qemuImg('create', '-f', 'qcow2', '-o', data, '-b', file('base.raw'), '-F', 'raw', top);
    await qemuIo(top, 'write -P 2 0 4k');
    const result = await commitVersion(store, { disks: [{ name: 'vda', path: top }] });
    expect(result).toMatchObject({ parents: [base.commit], disks: [{ newClusters: 1 }] });
  });
});

describe('what cannot be', () => {
  const request = ({ file }: TestStore, change: Partial<CommitRequest>): CommitRequest => ({
    disks: [{ name: 'vda', path: file('a.raw') }],
    branch: 'web',
    ...change,
  });
  test.each<[string, string, (made: TestStore) => Partial<CommitRequest>]>([
    ['BAD_NAME', 'a branch', () => ({ branch: 'a..b' })],
    ['BAD_NAME', 'a disk', ({ file }) => ({ disks: [{ name: '../x', path: file('a.raw') }] })],
    ['BAD_NAME', 'an attachment', ({ file }) => ({ attachments: [{ name: 'a/b', path: file('a.raw') }] })],
    [
      'USAGE',
      'one name for two disks',
      ({ file }) => ({ disks: ['', ''].map(() => ({ name: 'vda', path: file('a.raw') })) }),
    ],
    [
      'NOT_FOUND',
      'a file that is not there',
      ({ file }) => ({ disks: [{ name: 'vda', path: file('none.raw') }] }),
    ],
    [
      'NOT_FOUND',
      'an attachment that is not there',
      ({ file }) => ({ attachments: [{ name: 'x', path: file('none') }] }),
    ],
    [
      'BAD_IMAGE',
      'an attachment that is a folder',
      ({ file }) => ({ attachments: [{ name: 'x', path: file('.') }] }),
    ],
    [
      'BAD_IMAGE',
      'an attachment that is too large',
      ({ file }) => ({ attachments: [{ name: 'x', path: file('large') }] }),
    ],
    ['BAD_IMAGE', 'a folder', ({ file }) => ({ disks: [{ name: 'vda', path: file('.') }] })],
    [
      'BAD_IMAGE',
      'a second file that is no image',
      ({ file }) => ({
        disks: [
          { name: 'vda', path: file('a.raw') },
          { name: 'vdb', path: file('b.qcow2') },
        ],
      }),
    ],
  ])('commitVersion throws %s for %s and leaves the store as it was', async (code, _, change) => {
    const made = await newStore();
    await writeFile(made.file('a.raw'), diskOf([1, 2]));
    await writeFile(made.file('b.qcow2'), diskOf([1]));
    await writeFile(made.file('large'), '');
    await truncate(made.file('large'), 65 * 2 ** 20);
    const files = listFiles(made.path);
    await expect(commitVersion(made.store, request(made, change(made)))).rejects.toMatchObject({ code });
    expect(listFiles(made.path)).toEqual(files);
  });
});

test('commitVersion finds a backing file in another folder only when that is allowed', async () => {
  const { store, file } = await newStore();
  await qemuImg('create', '-f', 'qcow2', file('base.qcow2'), '1M');
  await qemuIo(file('base.qcow2'), 'write -P 1 0 4k');
  await mkdir(file('sub'));
  await qemuImg('create', '-f', 'qcow2', '-b', '../base.qcow2', '-F', 'qcow2', file('sub/top.qcow2'));
  const disks = [{ name: 'vda', path: file('sub/top.qcow2') }];
  await expect(commitVersion(store, { disks })).rejects.toMatchObject({ code: 'FORBIDDEN' });
  const result = await commitVersion(store, { disks, allowBacking: [file('.')] });
  expect(result.disks).toMatchObject([{ clusters: 1 }]);
});
