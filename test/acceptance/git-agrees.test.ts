import { spawnSync } from 'node:child_process';
import { cp, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { CLUSTER, disk, sampleStores, writeDisk } from '../cmd/sample.ts';
import { qemuBytes } from '../qcow2/qemu.ts';

const sample = sampleStores();

/** Runs git anywhere; the outcome is all that it prints. */
function git(place: Workplace, args: readonly string[], input: string | Buffer = '') {
  const { status, stdout, stderr } = spawnSync('git', args, {
    cwd: place.folder,
    env: place.environment,
    input,
    maxBuffer: 2 ** 28,
  });
  return { status, stdout: stdout.toString('utf8'), stderr: stderr.toString('utf8') };
}

test('git fsck finds nothing to say after each kind of change', async () => {
  const place = await Workplace.create();
  await place.ok('init');
  const empty = git(place, ['--git-dir=.imgstore', 'fsck', '--full', '--strict']);
  expect(empty.status).toBe(0);
  // That HEAD names a branch that is still to be born is all that git remarks.
  expect(empty.stderr).not.toMatch(/warning|error/);

  await writeDisk(place, 'web.raw', 1, undefined, 2);
  await writeDisk(place, 'big.raw', ...Array.from({ length: 700 }, (_, i) => (i % 7 === 0 ? undefined : i)));
  const steps: readonly (readonly string[])[] = [
    ['commit', 'web.raw'],
    ['commit', 'big.raw'],
    ['tag', 'light', 'web'],
    ['tag', 'annotated', 'web', '-m', 'text'],
    ['branch', 'lab', 'web'],
    ['branch', '-m', 'lab', 'lab/new'],
    ['branch', '-d', 'lab/new'],
    ['tag', '-d', 'light'],
    ['checkout', 'web'],
    ['checkout', 'big', '-o', 'back.raw'],
    ['commit', 'back.raw', '-b', 'third'],
  ];
  for (const step of steps) {
    await place.ok(...step);
    const { status, stdout, stderr } = git(place, [
      '--git-dir=.imgstore',
      'fsck',
      '--full',
      '--strict',
      '--no-progress',
    ]);
    expect({ step, status, stdout, stderr }).toEqual({ step, status: 0, stdout: '', stderr: '' });
  }
  // One of them was loose, the other one a pack.
  expect(place.git('count-objects', '-v')).toMatch(/^count: [1-9][\s\S]*^packs: 1$/m);
});

test('git clones a store, and the clone is a store', async () => {
  const place = await sample();
  const cloned = git(place, ['clone', '--quiet', '--bare', '--mirror', '.imgstore', 'clone.git']);
  expect(cloned).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(git(place, ['--git-dir=clone.git', 'fsck', '--full', '--strict', '--no-progress'])).toEqual({
    status: 0,
    stdout: '',
    stderr: '',
  });
  // A clone has the objects and refs but not the config, which says that it is a store.
  await cp(place.path('.imgstore/config'), place.path('clone.git/config'));
  expect(await place.json('images', '--store', 'clone.git')).toEqual(await place.json('images'));
  expect((await place.run('cat', 'web~1', '--store', 'clone.git')).bytes.equals(disk(1, undefined, 2))).toBe(
    true,
  );
});

test('git log --stat, git show and git cat-file read a store', async () => {
  const place = await sample();
  const log = place.git('log', '--stat', 'web');
  expect(log).toContain('first');
  expect(log).toMatch(/disks\/vda\/01 +\| Bin 0 -> 65536 bytes/);
  expect(place.git('show', '--stat', 'db')).toContain('files/domain.xml');
  expect(place.gitBytes('cat-file', 'blob', 'web:disks/vda/01').equals(disk(3))).toBe(true);
  expect(JSON.parse(place.git('cat-file', 'blob', 'web:image.json'))).toMatchObject({
    version: 1,
    clusterSize: CLUSTER,
    disks: { vda: { virtualSize: 3 * CLUSTER, levels: 1 } },
  });
  expect(place.git('diff', '--name-status', 'web~1', 'web')).toBe('A\tdisks/vda/01\nD\tdisks/vda/02');
  expect(place.git('reflog', 'web').split('\n')).toHaveLength(2);
});

test('a store stays whole when git repacks, packs refs and collects garbage', async () => {
  const place = await sample();
  const before = await place.json('log', '--all');
  place.git('repack', '-q', '-a', '-d', '-f', '--depth=20');
  place.git('pack-refs', '--all');
  place.git('gc', '--quiet', '--prune=now');
  expect(await place.json('log', '--all')).toEqual(before);
  expect((await place.run('cat', 'web')).bytes.equals(disk(1, 3, undefined))).toBe(true);
  await place.ok('checkout', 'web-test', '-o', 'fork.qcow2');
  expect((await qemuBytes(place.path('fork.qcow2'))).equals(disk(4, undefined, 2))).toBe(true);
  await place.ok('tag', '-d', 'v1');
  await place.ok('branch', '-m', 'web', 'server');
  place.fsck();
});

test('a store that git fast-import fills in our layout is one', async () => {
  const place = await Workplace.withStore();
  const last = Buffer.alloc(512, 7);
  const image = {
    version: 1,
    clusterSize: CLUSTER,
    disks: { vda: { virtualSize: 300 * CLUSTER + 512, levels: 2, source: { format: 'raw' } } },
  };
  const data = (bytes: Buffer) =>
    Buffer.concat([Buffer.from(`data ${bytes.length}\n`), bytes, Buffer.from('\n')]);
  const stream = Buffer.concat([
    Buffer.from('commit refs/heads/imported\ncommitter An Importer <i@example.org> 1700000000 +0000\n'),
    data(Buffer.from('made elsewhere\n')),
    Buffer.from('M 100644 inline image.json\n'),
    data(Buffer.from(JSON.stringify(image))),
    Buffer.from('M 100644 inline disks/vda/00/05\n'),
    data(disk(1)),
    Buffer.from('M 100644 inline disks/vda/01/02\n'),
    data(disk(2)),
    Buffer.from('M 100644 inline disks/vda/01/2c\n'),
    data(last),
  ]);
  expect(git(place, ['--git-dir=.imgstore', 'fast-import', '--quiet'], stream)).toMatchObject({
    status: 0,
    stderr: '',
  });

  const expected = Buffer.alloc(300 * CLUSTER + 512);
  disk(1).copy(expected, 5 * CLUSTER);
  disk(2).copy(expected, 258 * CLUSTER);
  last.copy(expected, 300 * CLUSTER);
  expect(await place.json('images')).toMatchObject([
    { name: 'imported', versions: 1, disks: [{ name: 'vda', virtualSize: expected.length }] },
  ]);
  expect(await place.json('show', 'imported')).toMatchObject({
    message: 'made elsewhere',
    disks: [{ dataBytes: 2 * CLUSTER + 512 }],
  });
  expect((await place.run('cat', 'imported')).bytes.equals(expected)).toBe(true);
  await place.ok('checkout', 'imported', '-o', 'imported.qcow2');
  expect((await qemuBytes(place.path('imported.qcow2'))).equals(expected)).toBe(true);

  // Its content is known, and its history goes on.
  await place.ok('checkout', 'imported', '-o', 'imported.raw');
  expect(await place.json('commit', 'imported.raw')).toMatchObject({ unchanged: true, newObjects: 0 });
  disk(3).copy(expected, 5 * CLUSTER);
  await writeFile(place.path('imported.raw'), expected);
  const next = await place.json('commit', 'imported.raw');
  expect(next).toMatchObject({ unchanged: false, disks: [{ newClusters: 1 }] });
  expect(next.parents).toEqual([place.git('rev-parse', 'imported~1')]);
  place.fsck();
});
