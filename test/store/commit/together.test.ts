import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { commitVersion } from '../../../store/index.ts';
import { diskOf } from '../disks.ts';
import { git, gitFsck } from '../git.ts';
import { commitBytes, listFiles, newStore, reopen } from '../new-store.ts';
import { diskBytes } from './disk-bytes.ts';

test('commitVersion lets one of two land that store different disks in one branch at once', async () => {
  const made = await newStore();
  const { commit } = await commitBytes(made, 'web', diskOf([1]));
  const disks = [diskOf([2, 3]), diskOf([4, 5])];
  const paths = disks.map((_, i) => made.file(`${i}.raw`));
  for (const [i, path] of paths.entries()) await writeFile(path, disks[i]!);
  const stores = await Promise.all([reopen(made.path), reopen(made.path)]);
  const results = await Promise.allSettled(
    paths.map((path, i) => commitVersion(stores[i]!, { disks: [{ name: 'vda', path }], branch: 'web' })),
  );
  const landed = results.findIndex((result) => result.status === 'fulfilled');
  expect(results[1 - landed]).toMatchObject({ status: 'rejected', reason: { code: 'REF_MOVED' } });
  expect((await diskBytes(made.store, 'web')).equals(disks[landed]!)).toBe(true);
  expect(await git(made.path, 'rev-parse', 'web~1')).toBe(commit);
  await gitFsck(made.path);
});

test('commitVersion lets many land that go to branches of their own at once', async () => {
  const made = await newStore(4096, { unpackLimit: 6 });
  const branches = ['a', 'b', 'c', 'd', 'e', 'f'];
  const disk = (i: number) => diskOf([1, 2, i + 3, ...Array<number>(i).fill(9)]);
  const results = await Promise.all(
    branches.map(async (branch, i) =>
      commitBytes({ ...made, store: await reopen(made.path) }, branch, disk(i)),
    ),
  );
  const opened = await reopen(made.path);
  for (const [i, branch] of branches.entries()) {
    expect(await opened.refs.resolve(`refs/heads/${branch}`)).toBe(results[i]!.commit);
    expect((await diskBytes(opened, branch)).equals(disk(i))).toBe(true);
  }
  expect(branches).toContain((await opened.refs.symbolicTarget('HEAD'))!.slice('refs/heads/'.length));
  expect(listFiles(made.path).filter((name) => /tmp_|\.lock$/.test(name))).toEqual([]);
  await gitFsck(made.path);
});

test('commitVersion goes on with a store that git repacks between versions', async () => {
  const made = await newStore();
  const disks = Array.from({ length: 5 }, (_, i) => diskOf([1, 2, i + 3, 4]));
  for (const disk of disks) {
    await commitBytes(made, 'web', disk);
    await git(made.path, 'repack', '-adq');
  }
  for (const [i, disk] of disks.toReversed().entries())
    expect((await diskBytes(made.store, `web~${i}`)).equals(disk)).toBe(true);
  await gitFsck(made.path);
});

test('DiskSource reads on while git repacks the store over and over', async () => {
  const made = await newStore(4096, { unpackLimit: 3 });
  const disks = Array.from({ length: 4 }, (_, i) => diskOf([1, 2, i + 3, 4]));
  for (const disk of disks) await commitBytes(made, 'web', disk);
  const packer = (async () => {
    for (let i = 0; i < 10; i++) {
      await git(made.path, 'repack', '-adqf', `--depth=${i % 2}`);
      await git(made.path, 'tag', '-a', '-m', 'one more object', `t${i}`, 'web');
    }
  })();
  let packing = true;
  const done = packer.finally(() => {
    packing = false;
  });
  while (packing)
    for (const [i, disk] of disks.toReversed().entries())
      expect((await diskBytes(made.store, `web~${i}`)).equals(disk)).toBe(true);
  await done;
});
