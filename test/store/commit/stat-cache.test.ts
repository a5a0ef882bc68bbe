import { readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Level } from 'level';
import { expect, onTestFinished, test } from 'vitest';
import { checkoutVersion, commitVersion } from '../../../store/index.ts';
import { qemuBytes, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { newStore, reopen, SMALL, settle, type TestStore } from '../new-store.ts';
import { diskBytes } from './disk-bytes.ts';

/** All of the file: it has no holes. */
const READ = 3 * SMALL;

/** A file that nobody has written to for a moment, committed once. */
async function settled(): Promise<
  TestStore & { commit: () => ReturnType<typeof commitVersion>; image: string }
> {
  const made = await newStore();
  const image = made.file('web.raw');
  await writeFile(image, diskOf([1, 2, 0]));
  await settle();
  const commit = () => commitVersion(made.store, { disks: [{ name: 'vda', path: image }] });
  return { ...made, commit, image };
}

const indexFolder = (path: string) => join(path, 'imgstore', 'index');

test('commitVersion reads nothing of a file that has not changed since', async () => {
  const { commit } = await settled();
  const first = await commit();
  expect(first.disks).toMatchObject([{ readBytes: READ, clusters: 2 }]);
  const again = await commit();
  expect(again).toMatchObject({ commit: first.commit, unchanged: true });
  expect(again.disks).toMatchObject([{ readBytes: 0, clusters: 2, newClusters: 0 }]);
});

test('commitVersion reads a file again when it was written to', async () => {
  const { commit, image } = await settled();
  await commit();
  await writeFile(image, diskOf([1, 3, 0]));
  const changed = await commit();
  expect(changed).toMatchObject({ unchanged: false });
  expect(changed.disks[0]!.readBytes).toBeGreaterThan(0);
});

test('commitVersion reads a file again whose time was set back after a write', async () => {
  const { commit, image } = await settled();
  const before = await stat(image);
  await commit();
  await writeFile(image, diskOf([1, 3, 0]));
  await utimes(image, before.atime, before.mtime);
  expect(await commit()).toMatchObject({ unchanged: false });
});

test('commitVersion comes to the same without its cache', async () => {
  const { commit, path } = await settled();
  const first = await commit();
  await rm(indexFolder(path), { recursive: true });
  const again = await commit();
  expect(again).toMatchObject({ commit: first.commit, unchanged: true });
  expect(again.disks).toMatchObject([{ readBytes: READ, clusters: 2 }]);
});

test('commitVersion works while another process holds the cache', async () => {
  const { commit, path } = await settled();
  const first = await commit();
  const holder = new Level(indexFolder(path));
  await holder.open();
  onTestFinished(() => holder.close());
  const again = await commit();
  expect(again).toMatchObject({ commit: first.commit, unchanged: true, disks: [{ readBytes: READ }] });
});

test('commitVersion works with a cache that is damaged, and with one that is no folder', async () => {
  const { commit, path } = await settled();
  const first = await commit();
  await writeFile(join(indexFolder(path), 'CURRENT'), 'nonsense');
  expect(await commit()).toMatchObject({ commit: first.commit, disks: [{ readBytes: READ }] });
  await rm(indexFolder(path), { recursive: true, force: true });
  await writeFile(indexFolder(path), '');
  expect(await commit()).toMatchObject({ commit: first.commit, disks: [{ readBytes: READ }] });
});

test.each(['not json', '{}', '[]', 'null', '{"commit":5,"files":[]}', '{"commit":"x","files":[{}]}'])(
  'commitVersion reads the file when its entry in the cache is %s',
  async (text) => {
    const { commit, path } = await settled();
    const first = await commit();
    const level = new Level<string, string>(indexFolder(path));
    for await (const key of level.keys()) await level.put(key, text);
    await level.close();
    expect(await commit()).toMatchObject({ commit: first.commit, disks: [{ readBytes: READ }] });
  },
);

test('commitVersion reads the file when the version in its cache is gone', async () => {
  const { commit, path, image } = await settled();
  await commit();
  await git(path, 'update-ref', '-d', 'refs/heads/web');
  await rm(join(path, 'logs'), { recursive: true, force: true });
  await git(path, 'prune', '--expire=now');
  const store = await reopen(path);
  const again = await commitVersion(store, { disks: [{ name: 'vda', path: image }] });
  expect(again).toMatchObject({ unchanged: false, disks: [{ readBytes: READ, newClusters: 2 }] });
});

test('commitVersion does not trust what it saw in the moment of a write', async () => {
  const made = await newStore();
  const image = made.file('web.raw');
  for (let i = 1; i <= 20; i++) {
    await writeFile(image, diskOf([i]));
    const result = await commitVersion(made.store, { disks: [{ name: 'vda', path: image }] });
    // The file was written a moment ago: neither this nor the commit before may have been remembered as settled.
    expect(result).toMatchObject({ unchanged: false, disks: [{ readBytes: SMALL }] });
  }
});

test('commitVersion reads a file whose time is in the future', async () => {
  const { commit, image } = await settled();
  const later = new Date(Date.now() + 3_600_000);
  await utimes(image, later, later);
  await commit();
  expect((await commit()).disks).toMatchObject([{ readBytes: READ }]);
});

test.each(['out.qcow2', 'out.raw'])(
  'commitVersion reads nothing of %s that was checked out just now',
  async (name) => {
    const { commit, store, file } = await settled();
    const first = await commit();
    await checkoutVersion(store, { revision: 'web', output: file(name) });
    const result = await commitVersion(store, { disks: [{ name: 'vda', path: file(name) }], branch: 'web' });
    expect(result).toMatchObject({ commit: first.commit, unchanged: true, disks: [{ readBytes: 0 }] });
  },
);

test('commitVersion knows a file by another disk name too', async () => {
  const { commit, store, image } = await settled();
  await commit();
  const other = await commitVersion(store, { disks: [{ name: 'vdb', path: image }], branch: 'other' });
  expect(other).toMatchObject({ unchanged: false, disks: [{ name: 'vdb', readBytes: 0 }] });
});

test.each(['raw', 'qcow2'] as const)(
  'commitVersion reads a file again that was committed in another format than %s',
  async (format) => {
    const { store, file } = await newStore();
    const image = file('disk.qcow2');
    await qemuImg('create', '-f', 'qcow2', image, '1M');
    await qemuIo(image, 'write -P 5 64k 64k');
    // As long as its disk, so that the size does not tell.
    await truncate(image, 2 ** 20);
    await settle();
    const commit = (as: 'raw' | 'qcow2') =>
      commitVersion(store, { disks: [{ name: 'vda', path: image }], branch: 'web', format: as });
    const disks = { raw: await readFile(image), qcow2: await qemuBytes(image) };
    await commit(format === 'raw' ? 'qcow2' : 'raw');
    const changed = await commit(format);
    expect(changed).toMatchObject({ unchanged: false, disks: [{ virtualSize: disks[format].length }] });
    expect(changed.disks[0]!.readBytes).toBeGreaterThan(0);
    expect((await diskBytes(store, 'web')).equals(disks[format])).toBe(true);
    // Both are known now.
    expect((await commit(format)).disks).toMatchObject([{ readBytes: 0 }]);
  },
);
