import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';

import { checkStore, collectGarbage, packStore, Store } from '../../../store/index.ts';
import { noise } from '../../qcow2/qemu.ts';
import { git, gitFsck, gitWith } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL, type TestStore } from '../new-store.ts';
import { fsck, patch } from './store-copies.ts';

function gitFinds(path: string): boolean {
  return spawnSync('git', ['--git-dir', path, 'fsck', '--full', '--strict']).status !== 0;
}

/** Expects that git finds damage, and checks the store. */
async function damagedFor(path: string) {
  expect(gitFinds(path)).toBe(true);
  const report = await fsck(path);
  expect(report.clean).toBe(false);
  return report;
}

/** A commit of a tree that git's plumbing makes, on a branch. */
function commitTree(path: string, tree: string, branch: string): string {
  const id = gitWith(path, {}, 'commit-tree', '-m', branch, tree);
  gitWith(path, {}, 'update-ref', `refs/heads/${branch}`, id);
  return id;
}

const mktree = (path: string, lines: readonly string[]) =>
  gitWith(path, { input: lines.map((line) => `${line}\n`).join('') }, 'mktree', '--missing');
const blob = (path: string, input: string | Buffer) =>
  gitWith(path, { input }, 'hash-object', '-w', '--stdin');

/** A version with a map of one's own, on the branch `made`. */
function madeVersion(path: string, map: string, virtualSize: number, levels = 1): string {
  const record = { version: 1, clusterSize: SMALL, disks: { vda: { virtualSize, levels, source: {} } } };
  const image = blob(path, JSON.stringify(record));
  const disks = mktree(path, [`040000 tree ${map}\tvda`]);
  return commitTree(
    path,
    mktree(path, [`040000 tree ${disks}\tdisks`, `100644 blob ${image}\timage.json`]),
    'made',
  );
}

test('checkStore finds nothing in stores that imgstore and git have made', async () => {
  const made = await newStore();
  expect(await fsck(made.path)).toMatchObject({ clean: true, objects: 0, dangling: 0, notices: [] });
  const disk = noise(SMALL * 300 + 100, 1);
  await commitBytes(made, 'web', disk);
  noise(100, 2).copy(disk, 40_000);
  await commitBytes(made, 'web', disk);
  await commitBytes(made, 'zeros', Buffer.alloc(SMALL * 3));
  await commitBytes(made, 'empty', Buffer.alloc(0));
  const count = async () =>
    Number((await git(made.path, 'cat-file', '--batch-all-objects', '--batch-check=1')).length / 2 + 0.5);
  expect(await fsck(made.path)).toMatchObject({
    clean: true,
    objects: await count(),
    dangling: 0,
    notices: [],
  });
  await packStore(made.store);
  for (const quick of [false, true])
    expect(await fsck(made.path, quick)).toMatchObject({
      clean: true,
      objects: await count(),
      dangling: 0,
      notices: [],
    });
});

test('checkStore finds nothing in what git users put beside versions', async () => {
  const made = await newStore();
  const { path } = made;
  await commitBytes(made, 'web', noise(SMALL * 20, 1));
  const file = blob(path, 'text');
  const latin = Buffer.concat([Buffer.from(`100644 blob ${file}\t`), Buffer.from([0xe9, 0x0a])]);
  const inner = gitWith(path, { input: latin }, 'mktree');
  const tree = mktree(path, [
    `100755 blob ${file}\trun`,
    `120000 blob ${file}\tlink`,
    `160000 commit ${'1'.repeat(64)}\tsubmodule`,
    `040000 tree ${inner}\tinner`,
  ]);
  commitTree(path, tree, 'foreign');
  await git(path, 'tag', '-a', '-m', 'one', 'one', 'web');
  await git(path, 'tag', '-a', '-m', 'two', 'two', 'one');
  await git(path, 'tag', '-a', '-m', 'tree', 'tree', tree);
  await git(path, 'tag', 'blob', file);
  await git(path, 'notes', 'add', '-m', 'note', 'web');
  const stream =
    'blob\nmark :1\ndata 4\nabc\n\ncommit refs/heads/fast\ncommitter A <a@b> 1 +0000\ndata 1\nx\nM 100644 :1 a/b\n\n';
  gitWith(path, { input: stream }, 'fast-import', '--quiet');
  for (const step of [
    () => git(path, 'update-ref', '--no-deref', 'HEAD', 'web'),
    () => git(path, 'pack-refs', '--all'),
    () => git(path, 'repack', '-adfb', '--depth=50'),
    () => git(path, 'commit-graph', 'write', '--reachable'),
    () => git(path, 'branch', '-D', 'fast'),
    () => git(path, 'repack', '-d', '--cruft', '--cruft-expiration=never'),
    () => git(path, 'multi-pack-index', 'write'),
  ]) {
    await step();
    await gitFsck(path);
    expect(await fsck(path)).toMatchObject({ damaged: [], missing: [], files: [], refs: [], notices: [] });
    expect((await fsck(path, true)).clean).toBe(true);
  }
});

test('checkStore counts what nothing leads to, and an object in two places once', async () => {
  const made = await newStore(SMALL, { unpackLimit: 10_000 });
  await commitBytes(made, 'web', noise(SMALL * 5, 1));
  blob(made.path, 'nothing leads here');
  const { objects } = await fsck(made.path);
  await git(made.path, 'repack', '-a', '-q');
  expect(await fsck(made.path)).toMatchObject({ clean: true, objects, dangling: 1 });
});

test.each([
  ['parent', 'web~1', 'commit', 'commit'],
  ['tree', 'web^{tree}', 'tree', 'commit'],
  ['image.json', 'web:image.json', 'blob', 'tree'],
  ['map node', 'web:disks/vda', 'tree', 'tree'],
  ['cluster', 'web:disks/vda/00/03', 'blob', 'tree'],
])('checkStore names what is missing and what needs it when it is a %s', async (_, what, kind, from) => {
  const made = await newStore(SMALL, { unpackLimit: 10_000 });
  const disk = noise(SMALL * 300, 1);
  for (let version = 0; version < 3; version++) {
    noise(200, version).copy(disk, SMALL * 3);
    await commitBytes(made, 'web', disk);
  }
  const id = await git(made.path, 'rev-parse', what);
  rmSync(made.store.objects.loose.path(id));
  for (const { missing } of [await damagedFor(made.path), await fsck(made.path, true)])
    expect(missing).toMatchObject([{ id, kind, neededBy: expect.stringMatching(new RegExp(`^${from}`)) }]);
});

test('checkStore says which bytes of which versions a lost cluster is', async () => {
  const made = await newStore(SMALL, { unpackLimit: 10_000 });
  const disk = noise(SMALL * 300 + 100, 1);
  disk.copy(disk, SMALL * 10, 0, SMALL);
  disk.copy(disk, SMALL * 11, 0, SMALL);
  const tips: string[] = [];
  for (let version = 0; version < 3; version++) {
    noise(200, version).copy(disk, SMALL * (version === 2 ? 10 : 299));
    tips.unshift((await commitBytes(made, 'web', disk)).commit);
  }
  const [first, last] = (
    await git(made.path, 'rev-parse', 'web:disks/vda/00/00', 'web:disks/vda/01/2c')
  ).split('\n');
  patch(made.store.objects.loose.path(first!), (bytes) => bytes.fill(7, 20, 60));
  rmSync(made.store.objects.loose.path(last!));
  const { damaged, missing } = await damagedFor(made.path);
  const at = (cluster: number, count: number) => ({ offset: cluster * SMALL, length: count * SMALL });
  const part = { disk: 'vda', path: 'disks/vda' };
  expect(damaged).toMatchObject([
    { id: first, kind: 'blob', lost: true, where: made.store.objects.loose.path(first!) },
  ]);
  expect(damaged[0]!.touches).toEqual([
    { ...part, version: tips[0], name: 'web', ranges: [at(0, 1), at(11, 1)] },
    { ...part, version: tips[1], name: 'web~1', ranges: [at(0, 1), at(10, 2)] },
    { ...part, version: tips[2], name: 'web~2', ranges: [at(0, 1), at(10, 2)] },
  ]);
  const end = { offset: 300 * SMALL, length: 100 };
  expect(missing[0]!.touches.map(({ ranges }) => ranges)).toEqual([[end], [end], [end]]);
});

test('checkStore says which attachment is lost', async () => {
  const made = await newStore(SMALL, { unpackLimit: 10_000 });
  const path = made.file('domain.xml');
  writeFileSync(path, '<domain/>');
  await commitBytes(made, 'web', noise(SMALL, 1), { attachments: [{ name: 'xml', path }] });
  rmSync(made.store.objects.loose.path(await git(made.path, 'rev-parse', 'web:files/xml')));
  const { missing } = await damagedFor(made.path);
  expect(missing).toMatchObject([
    { kind: 'blob', touches: [{ name: 'web', disk: undefined, path: 'files/xml' }] },
  ]);
});

test.each<[string, (path: string) => [map: string, size: number, levels?: number], RegExp]>([
  ['a name', (path) => [mktree(path, [`100644 blob ${blob(path, noise(SMALL, 1))}\t0A`]), SMALL * 20], /0A/],
  [
    'a mode',
    (path) => [mktree(path, [`100755 blob ${blob(path, noise(SMALL, 1))}\t00`]), SMALL * 20],
    /mode 100755/,
  ],
  [
    'a size',
    (path) => [mktree(path, [`100644 blob ${blob(path, noise(100, 1))}\t00`]), SMALL * 20],
    /100 bytes, not 4096/,
  ],
  [
    'the last size',
    (path) => [mktree(path, [`100644 blob ${blob(path, noise(SMALL, 1))}\t00`]), 100],
    /4096 bytes, not 100/,
  ],
  [
    'the end',
    (path) => [mktree(path, [`100644 blob ${blob(path, noise(SMALL, 1))}\t05`]), SMALL * 5],
    /behind the end/,
  ],
  [
    'the height',
    (path) => [mktree(path, [`100644 blob ${blob(path, noise(SMALL, 1))}\t00`]), SMALL * 257, 2],
    /mode/,
  ],
])('checkStore finds a cluster map that does not fit image.json in %s', async (_, make, reason) => {
  const made = await newStore();
  const [map, size, levels] = make(made.path);
  const version = madeVersion(made.path, map, size, levels);
  await gitFsck(made.path);
  const { clean, damaged, missing } = await fsck(made.path);
  expect({ clean, missing }).toEqual({ clean: false, missing: [] });
  expect(damaged).toMatchObject([{ id: map, kind: 'tree', reason: expect.stringMatching(reason) }]);
  expect(damaged[0]!.touches).toMatchObject([{ version, name: 'made', disk: 'vda' }]);
});

test('checkStore mentions clusters of zeros and empty nodes, which are no damage', async () => {
  const made = await newStore();
  const zeros = mktree(made.path, [`100644 blob ${blob(made.path, Buffer.alloc(SMALL))}\t00`]);
  const root = mktree(made.path, [`040000 tree ${zeros}\t00`, `040000 tree ${mktree(made.path, [])}\t01`]);
  madeVersion(made.path, root, SMALL * 600, 2);
  const { clean, notices } = await fsck(made.path);
  expect(clean).toBe(true);
  expect(notices).toEqual([
    expect.stringContaining('cluster of zeros'),
    expect.stringContaining('empty node'),
  ]);
});

test('checkStore finds an image.json that says nothing, and disks that it does not name', async () => {
  const made = await newStore();
  const empty = mktree(made.path, []);
  commitTree(made.path, mktree(made.path, [`100644 blob ${blob(made.path, '{')}\timage.json`]), 'broken');
  const version = madeVersion(made.path, empty, 0);
  expect((await fsck(made.path)).damaged).toMatchObject([
    { kind: 'blob', reason: expect.stringContaining('JSON') },
  ]);
  const disks = mktree(made.path, [`040000 tree ${empty}\tvda`, `040000 tree ${empty}\tvdb`]);
  const image = await git(made.path, 'rev-parse', `${version}:image.json`);
  commitTree(
    made.path,
    mktree(made.path, [`040000 tree ${disks}\tdisks`, `100644 blob ${image}\timage.json`]),
    'more',
  );
  expect((await fsck(made.path)).damaged).toContainEqual(
    expect.objectContaining({ id: disks, reason: "'vdb' is not in image.json" }),
  );
});

test.each<[string, (made: TestStore, tip: string) => void]>([
  ['empty', ({ path }) => writeFileSync(join(path, 'refs/heads/bad'), '')],
  ['no id', ({ path }) => writeFileSync(join(path, 'refs/heads/bad'), 'nonsense\n')],
  ['at nothing', ({ path }) => writeFileSync(join(path, 'refs/heads/bad'), `${'1'.repeat(64)}\n`)],
  ['at a tree', ({ path }) => writeFileSync(join(path, 'refs/heads/bad'), `${mktree(path, [])}\n`)],
  ['ill-named', ({ path }, tip) => writeFileSync(join(path, 'refs/heads/a..b'), `${tip}\n`)],
  ['a tag of nothing', ({ path }) => writeFileSync(join(path, 'refs/tags/bad'), `${'1'.repeat(64)}\n`)],
])('checkStore finds a ref that is %s', async (_, damage) => {
  const made = await newStore();
  const { commit } = await commitBytes(made, 'web', noise(SMALL, 1));
  damage(made, commit);
  const { refs } = await damagedFor(made.path);
  expect(refs).toHaveLength(1);
});

test('checkStore finds reflogs that name what is not there', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', noise(SMALL, 1));
  patch(join(made.path, 'logs/refs/heads/web'), (bytes) =>
    Buffer.from(bytes.toString().replace(/ [0-9a-f]{4}/, ' dead')),
  );
  const { refs } = await damagedFor(made.path);
  expect(refs).toMatchObject([
    { name: 'refs/heads/web', isLog: true, where: expect.stringMatching(/web:1$/) },
  ]);
});

test('checkStore mentions a line that a kill has cut off, locks and temporary files', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', noise(SMALL, 1));
  const log = join(made.path, 'logs/refs/heads/web');
  patch(log, (bytes) => Buffer.concat([bytes, bytes.subarray(0, 100)]));
  writeFileSync(join(made.path, 'refs/heads/web.lock'), '');
  writeFileSync(join(made.path, 'objects/pack/tmp_pack_abc'), 'x');
  writeFileSync(join(made.path, `objects/pack/pack-${'1'.repeat(64)}.pack`), 'x');
  await gitFsck(made.path);
  const { clean, notices } = await fsck(made.path);
  expect(clean).toBe(true);
  expect(notices).toEqual([
    expect.stringContaining('is cut off'),
    expect.stringContaining('has no index'),
    expect.stringContaining('tmp_pack_abc'),
    expect.stringContaining('web.lock'),
  ]);
});

test('checkStore goes on past indexes, packs and objects that cannot be read', async () => {
  const made = await newStore(SMALL, { unpackLimit: 1 });
  for (let version = 0; version < 3; version++) await commitBytes(made, 'web', noise(SMALL * 4, version));
  const folder = join(made.path, 'objects/pack');
  const [one, two] = readdirSync(folder).filter((name) => name.endsWith('.pack'));
  truncateSync(join(folder, one!.replace('.pack', '.idx')), 50);
  truncateSync(join(folder, two!), 600);
  const { files, missing } = await damagedFor(made.path);
  expect(files.map(({ kind }) => kind).sort()).toEqual(['idx', 'pack']);
  expect(missing).toEqual([]);
});

test('checkStore goes on past a pack that cannot be read at all', async () => {
  const made = await newStore(SMALL, { unpackLimit: 1 });
  for (let version = 0; version < 2; version++) await commitBytes(made, 'web', noise(SMALL * 4, version));
  const folder = join(made.path, 'objects/pack');
  const packs = readdirSync(folder).filter((name) => name.endsWith('.pack'));
  const path = join(folder, packs[0]!);
  rmSync(path);
  mkdirSync(path);
  const { files, missing } = await damagedFor(made.path);
  expect(files).toMatchObject([{ path, kind: 'pack', reason: expect.stringContaining('no regular file') }]);
  expect(missing.length).toBeGreaterThan(0);
});

test('checkStore finds a damaged copy of which there is another', async () => {
  const made = await newStore(SMALL, { unpackLimit: 10_000 });
  await commitBytes(made, 'web', noise(SMALL * 4, 1));
  await git(made.path, 'repack', '-a', '-q');
  const [id] = [...made.store.objects.loose.ids()];
  truncateSync(made.store.objects.loose.path(id!), 30);
  expect(await fsck(made.path)).toMatchObject({
    clean: false,
    missing: [],
    damaged: [{ id, lost: false, touches: [] }],
  });
});

test('checkStore leaves the bytes of clusters alone when it is quick', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', noise(SMALL * 40, 1));
  await packStore(made.store);
  const [pack] = made.store.objects.packs.packs();
  const id = await git(made.path, 'rev-parse', 'web:disks/vda/05');
  const offset = pack!.idx.offset(pack!.idx.find(id)!);
  patch(pack!.path, (bytes) => bytes.fill(0, offset + 100, offset + 200));
  expect((await fsck(made.path, true)).clean).toBe(true);
  expect((await fsck(made.path)).damaged).toMatchObject([{ id, kind: 'blob', lost: true }]);
});

test('checkStore walks a tree once however many versions have it', async () => {
  const made = await newStore();
  const disk = noise(SMALL * 600, 1);
  await commitBytes(made, 'web', disk);
  const reads = async () => {
    const store = await Store.open(made.path);
    let count = 0;
    const [pack] = store.objects.packs.packs();
    const prototype = Object.getPrototypeOf(pack);
    const { read } = prototype;
    prototype.read = function (this: unknown, ...args: unknown[]) {
      count++;
      return read.apply(this, args);
    };
    onTestFinished(() => {
      prototype.read = read;
    });
    await checkStore(store);
    prototype.read = read;
    store.close();
    return count;
  };
  await packStore(made.store);
  const before = await reads();
  for (let i = 0; i < 20; i++) await commitBytes(made, 'web', disk, { allowEmpty: true });
  await packStore(await reopen(made.path));
  // A commit each, and nothing of their one tree.
  expect(await reads()).toBe(before + 20);
});

test('checkStore finds nothing while others commit, pack, remove branches and collect garbage', async () => {
  const made = await newStore(SMALL, { unpackLimit: 20 });
  await commitBytes(made, 'web', noise(SMALL * 60, 1));
  let isDone = false;
  const work = (async () => {
    for (let round = 0; round < 12; round++) {
      await commitBytes(made, 'web', noise(SMALL * (round % 3 === 0 ? 60 : 5), round + 2));
      await commitBytes(made, `b${round}`, noise(SMALL * 5, 100 + round));
      if (round % 2 === 0) await packStore(await reopen(made.path));
      if (round % 3 === 0) await git(made.path, 'repack', '-ad', '-q');
      if (round > 2) {
        await git(made.path, 'branch', '-D', `b${round - 2}`);
        if (round % 2 === 0) await git(made.path, 'prune', '--expire=now');
        else await collectGarbage(await reopen(made.path), { prune: 'now' });
      }
    }
    isDone = true;
  })();
  for (let checks = 0; !isDone || checks < 3; checks++) {
    const { damaged, missing, files, refs } = await fsck(made.path, checks % 3 === 2);
    expect({ damaged, missing, files, refs }).toEqual({ damaged: [], missing: [], files: [], refs: [] });
    await sleep(1);
  }
  await work;
});
