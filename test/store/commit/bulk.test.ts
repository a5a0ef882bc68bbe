import { truncateSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { commitVersion } from '../../../store/index.ts';
import { noise, qemuImg } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { countObjects, gitFsck } from '../git.ts';
import { commitBytes, listFiles, newStore, SMALL } from '../new-store.ts';
import { diskBytes } from './disk-bytes.ts';

test('commitVersion comes to the same ids with loose objects and with a pack', async () => {
  const disk = diskOf([1, 2, 0, 3, 4, 5, 1], SMALL, 77);
  const results: string[] = [];
  for (const unpackLimit of [512, 3]) {
    const made = await newStore(SMALL, { unpackLimit });
    results.push((await commitBytes(made, 'web', disk)).tree);
    const files = listFiles(made.path);
    expect(files.some((name) => name.endsWith('.pack'))).toBe(unpackLimit === 3);
    expect((await diskBytes(made.store, 'web')).equals(disk)).toBe(true);
    await gitFsck(made.path);
  }
  expect(results[0]).toBe(results[1]);
});

test('commitVersion comes to the same ids from raw and qcow2, whatever their clusters', async () => {
  const made = await newStore();
  const disk = diskOf([1, 2, 0, 0, 3, 3]);
  const { tree, commit } = await commitBytes(made, 'web', disk);
  for (const size of ['512', '64k', '2M']) {
    const image = made.file(`c${size}.qcow2`);
    await qemuImg(
      'convert',
      '-O',
      'qcow2',
      '-o',
      `cluster_size=${size}`,
      '-f',
      'raw',
      made.file('web.raw'),
      image,
    );
    const result = await commitVersion(made.store, { disks: [{ name: 'vda', path: image }], branch: 'web' });
    expect(result).toMatchObject({ unchanged: true, tree, commit });
  }
});

test('commitVersion stores a large disk on all cores, each of its clusters once', async () => {
  const made = await newStore(65536);
  const image = made.file('large.raw');
  const part = noise(10 * 2 ** 20 + 5000, 3);
  await writeFile(image, '');
  truncateSync(image, 40 * 2 ** 20 + 100);
  const file = await open(image, 'r+');
  // Twice the same at the same place within a cluster, and some of it shifted by half a cluster.
  for (const at of [0, 12 * 2 ** 20, 28 * 2 ** 20 + 32768]) await file.write(part, 0, part.length, at);
  await file.close();
  const result = await commitVersion(made.store, { disks: [{ name: 'vda', path: image }] });
  expect(result.disks[0]!.newClusters).toBe((await countObjects(made.path)).blob! - 1);
  const bytes = await diskBytes(made.store, 'large');
  const expected = Buffer.alloc(40 * 2 ** 20 + 100);
  for (const at of [0, 12 * 2 ** 20, 28 * 2 ** 20 + 32768]) part.copy(expected, at);
  expect(bytes.equals(expected)).toBe(true);
  await gitFsck(made.path);
});

test('commitVersion never reads the holes of a disk of many terabytes', async () => {
  const made = await newStore(65536);
  const image = made.file('huge.raw');
  await writeFile(image, '');
  truncateSync(image, 8 * 2 ** 40);
  const file = await open(image, 'r+');
  await file.write(noise(65536, 1), 0, 65536, 5 * 2 ** 40);
  await file.close();
  const result = await commitVersion(made.store, { disks: [{ name: 'vda', path: image }] });
  expect(result).toMatchObject({ disks: [{ virtualSize: 8 * 2 ** 40, clusters: 1, readBytes: 65536 }] });
  expect(await countObjects(made.path)).toMatchObject({ blob: 2, tree: 4 + 2, commit: 1 });
  await gitFsck(made.path);
});
