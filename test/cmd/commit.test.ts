import { appendFile, truncate, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { qemuImg } from '../qcow2/qemu.ts';
import { oneLine, Workplace } from './imgstore.ts';
import { CLUSTER, disk, writeDisk } from './sample.ts';
import { ID, NUMBER } from './shapes.ts';

test('commit answers in JSON with what it stored', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'web.raw', 1, undefined, 2, 1);
  const result = await place.json('commit', 'web.raw');
  expect(result).toMatchObject({
    commit: ID,
    tree: ID,
    branch: 'web',
    parents: [],
    disks: [{ name: 'vda', virtualSize: 4 * CLUSTER, clusters: 3, newClusters: 2, readBytes: 4 * CLUSTER }],
    newObjects: 7,
    storedBytes: NUMBER,
    unchanged: false,
    seconds: NUMBER,
  });
  expect(place.git('rev-parse', 'refs/heads/web', 'web^{tree}')).toBe(`${result.commit}\n${result.tree}`);
  expect(place.git('log', '-1', '--format=%an <%ae>|%cn|%B', 'web').trim()).toBe(
    'An Author <author@example.org>|A Committer|Store web.raw',
  );
  expect(place.gitBytes('cat-file', 'blob', 'web:disks/vda/02').equals(disk(2))).toBe(true);
});

test('commit prints one line for the version and one for each disk', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'web.raw', 1);
  const { stdout, stderr } = await place.run('commit', 'web.raw');
  expect(stderr).toBe('');
  expect(stdout).toMatch(
    /^\[web [0-9a-f]{12}\]\n {2}vda: 64 KiB, 1 cluster with data, 1 new, 64 KiB read\n {2}6 objects, 6\d\.\d KiB stored in \d+\.\d s\n$/,
  );
});

test('commit makes the last version the parent of the next, and says when nothing has changed', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'web.raw', 1, 2);
  const first = await place.json('commit', 'web.raw', '-m', 'first');
  const same = await place.json('commit', 'web.raw', '-m', 'again');
  expect(same).toMatchObject({ commit: first.commit, newObjects: 0, storedBytes: 0, unchanged: true });
  expect(await place.ok('commit', 'web.raw')).toBe(`web: unchanged, still ${first.commit.slice(0, 12)}\n`);

  const empty = await place.json('commit', 'web.raw', '--allow-empty', '-m', 'empty');
  expect(empty).toMatchObject({ parents: [first.commit], tree: first.tree, unchanged: false });
  await writeDisk(place, 'web.raw', 1, 3);
  const next = await place.json('commit', 'web.raw', '-m', 'second');
  expect(next).toMatchObject({ parents: [empty.commit], disks: [{ newClusters: 1 }] });
});

test('commit names the branch after the file when none is given', async () => {
  const place = await Workplace.withStore();
  for (const [file, branch] of [
    ['web.v2.raw', 'web.v2'],
    ['a b.img', 'a-b'],
    ['.hidden.raw', 'hidden'],
  ] as const) {
    await writeDisk(place, file, 1);
    expect((await place.json('commit', file)).branch).toBe(branch);
  }
});

test('commit stores several disks and attachments when they are named', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'a.raw', 1);
  await writeDisk(place, 'b.raw', 2);
  await writeFile(place.path('web.xml'), '<domain/>');
  const result = await place.json(
    'commit',
    'a.raw',
    '--disk',
    'data=b.raw',
    '--attach',
    'domain.xml=web.xml',
    '-b',
    'web',
  );
  expect(result.disks.map((each: { name: string }) => each.name)).toEqual(['vda', 'data']);
  expect(place.git('ls-tree', '-r', '--name-only', 'web')).toBe(
    'disks/data/00\ndisks/vda/00\nfiles/domain.xml\nimage.json',
  );
  expect(place.git('cat-file', 'blob', 'web:files/domain.xml')).toBe('<domain/>');
  const two = await place.json('commit', 'a.raw', 'b.raw', '-b', 'two');
  expect(two.disks.map((each: { name: string }) => each.name)).toEqual(['vda', 'vdb']);
});

test.each([
  [['a.raw', '--disk', 'vda=a.raw'], 2, "'vda' is given twice"],
  [['--disk', 'a.raw'], 2, 'NAME=FILE'],
  [['--disk', 'a/b=a.raw'], 1, "'a/b' cannot name a disk"],
  [['--disk', '..=a.raw'], 1, "'..' cannot name a disk"],
  [['a.raw', '--attach', 'x=missing.xml'], 1, 'missing.xml: no such file'],
  [['a.raw', '--attach', 'x=.'], 1, 'is no file that can be attached'],
  [['a.raw', '--parent', 'nothing'], 1, "unknown revision 'nothing'"],
  [['a.raw', '-b', 'a..b'], 1, "'a..b' cannot name a branch"],
  [Array.from({ length: 27 }, () => 'a.raw'), 2, '27 images'],
] as const)('commit %j exits with an error and stores nothing', async (args, status, part) => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'a.raw', 1);
  const outcome = await place.run('commit', ...args);
  expect(outcome).toMatchObject({ status, stdout: '' });
  expect(oneLine(outcome)).toContain(part);
  expect(await place.json('images')).toEqual([]);
});

test('commit starts a branch at --parent, and refuses it on a branch that exists', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'web.raw', 1);
  const first = await place.json('commit', 'web.raw');
  await writeDisk(place, 'web.raw', 2);
  const second = await place.json('commit', 'web.raw');
  await writeDisk(place, 'fork.raw', 3);
  expect((await place.json('commit', 'fork.raw', '--parent', 'web~1')).parents).toEqual([first.commit]);
  await writeDisk(place, 'web.raw', 4);
  const refused = await place.run('commit', 'web.raw', '--parent', 'web~1');
  expect(refused.status).toBe(2);
  expect(oneLine(refused)).toContain("branch 'web' exists");
  expect(place.git('rev-parse', 'web')).toBe(second.commit);
});

test('commit makes the backing version the parent when an overlay on a stored image starts a branch', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'base.raw', 1, 2, 3);
  await qemuImg('convert', '-O', 'qcow2', place.path('base.raw'), place.path('base.qcow2'));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const base = await place.json('commit', 'base.qcow2');
  await qemuImg('create', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', place.path('top.qcow2'));
  await place.ok('commit', 'base.qcow2');
  await writeDisk(place, 'new.raw', 7);
  await qemuImg('convert', '-n', '-O', 'qcow2', place.path('new.raw'), place.path('top.qcow2'));
  const top = await place.json('commit', 'top.qcow2');
  expect(top).toMatchObject({ branch: 'top', parents: [base.commit], unchanged: false });
});

test('commit reads nothing when the file is as it was', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'web.raw', 1, 2);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect((await place.json('commit', 'web.raw')).disks[0].readBytes).toBe(2 * CLUSTER);
  expect((await place.json('commit', 'web.raw')).disks[0].readBytes).toBe(0);
  await appendFile(place.path('web.raw'), Buffer.alloc(CLUSTER, 1));
  expect((await place.json('commit', 'web.raw')).disks[0].readBytes).toBe(3 * CLUSTER);
});

test('commit stores a disk whose last cluster is short and one that is all zeros', async () => {
  const place = await Workplace.withStore();
  await writeFile(place.path('short.raw'), Buffer.alloc(CLUSTER + 512, 7));
  expect((await place.json('commit', 'short.raw')).disks[0]).toMatchObject({
    virtualSize: CLUSTER + 512,
    clusters: 2,
    newClusters: 2,
  });
  await writeFile(place.path('zero.raw'), '');
  await truncate(place.path('zero.raw'), 3 * CLUSTER);
  expect((await place.json('commit', 'zero.raw')).disks[0]).toMatchObject({ clusters: 0, newClusters: 0 });
  expect((await place.run('cat', 'zero')).bytes.equals(Buffer.alloc(3 * CLUSTER))).toBe(true);
  place.fsck();
});

test('commit prints nothing when it is quiet', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'web.raw', 1);
  expect(await place.run('commit', 'web.raw', '-q')).toMatchObject({ status: 0, stdout: '', stderr: '' });
});

test('commit says that a new branch holds what is stored already', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'web.raw', 1);
  const { commit } = await place.json('commit', 'web.raw');
  await writeDisk(place, 'copy.raw', 1);
  expect(await place.ok('commit', 'copy.raw')).toBe(
    `copy: new branch at ${commit.slice(0, 12)}, which holds the same bytes\n`,
  );
});
