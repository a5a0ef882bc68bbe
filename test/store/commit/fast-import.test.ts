import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { checkoutVersion, commitVersion, readVersion, resolveCommit } from '../../../store/index.ts';
import { noise } from '../../qcow2/qemu.ts';
import { git, gitFsck, gitWith } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL } from '../new-store.ts';
import { diskBytes } from './disk-bytes.ts';

/** One file of a stream for git fast-import. */
function file(path: string, data: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from(`M 100644 inline ${path}\ndata ${data.length}\n`),
    data,
    Buffer.from('\n'),
  ]);
}

/** A disk of 300 clusters, of which four hold data, as a stream that a script of a user could write. */
function stream(disk: Buffer): Buffer {
  const image = { version: 1, clusterSize: SMALL, disks: { vda: { virtualSize: disk.length, levels: 2 } } };
  const hex = (n: number) => n.toString(16).padStart(2, '0');
  const parts: Uint8Array[] = [
    Buffer.from('commit refs/heads/web\ncommitter C <c@x> 1700000000 +0000\ndata 5\nhand\n\n'),
  ];
  parts.push(file('image.json', Buffer.from(JSON.stringify(image))));
  for (const cluster of CLUSTERS)
    parts.push(
      file(
        `disks/vda/${hex(cluster >> 8)}/${hex(cluster & 255)}`,
        disk.subarray(cluster * SMALL, (cluster + 1) * SMALL),
      ),
    );
  return Buffer.concat([...parts, Buffer.from('\ndone\n')]);
}

const CLUSTERS = [0, 7, 256, 299];

test('commitVersion goes on from a version that git fast-import made, which is read and checked out', async () => {
  const made = await newStore();
  const disk = Buffer.alloc(299 * SMALL + 1000);
  for (const cluster of CLUSTERS) noise(SMALL, cluster + 1).copy(disk, cluster * SMALL);
  gitWith(made.path, { input: stream(disk) }, 'fast-import', '--quiet', '--done');
  const store = await reopen(made.path);
  const id = await resolveCommit(store, 'web');
  expect(readVersion(store.objects, id).disks).toMatchObject([{ virtualSize: disk.length, source: {} }]);
  expect((await diskBytes(store, 'web')).equals(disk)).toBe(true);
  await checkoutVersion(store, { revision: 'web', output: made.file('web.raw') });
  expect((await readFile(made.file('web.raw'))).equals(disk)).toBe(true);
  const same = await commitVersion(store, {
    disks: [{ name: 'vda', path: made.file('web.raw') }],
    branch: 'web',
  });
  expect(same).toMatchObject({ commit: id, unchanged: true });
  noise(SMALL, 99).copy(disk, 8 * SMALL);
  const next = await commitBytes({ ...made, store }, 'web', disk);
  expect(next).toMatchObject({ parents: [id], disks: [{ newClusters: 1 }] });
  expect(await git(made.path, 'diff', '--name-only', 'web~1', 'web', '--', 'disks')).toBe('disks/vda/00/08');
  await gitFsck(made.path);
});
