import { stat, utimes, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { commitVersion, type ImportRequest, importImage } from '../../../store/index.ts';
import { createOverlay, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { git, gitFsck } from '../git.ts';
import { newStore, reopen, SMALL, settle, type TestStore } from '../new-store.ts';
import { importOf, judgeByQemu } from './judged.ts';

const MIB = 2 ** 20;

async function layer({ file }: TestStore, name: string, below: string | undefined, ...commands: string[]) {
  const format = below?.endsWith('.raw') ? 'raw' : 'qcow2';
  const on = below === undefined ? ['64M'] : [];
  const backing = below === undefined ? [] : ['-b', below, '-F', format];
  await qemuImg('create', '-q', '-f', 'qcow2', ...backing, file(name), ...on);
  if (commands.length > 0) await qemuIo(file(name), ...commands);
}

/** base.qcow2 with 4 MiB, middle.qcow2 with 1 MiB, top.qcow2 with 64 KiB and 1 MiB of zeros. */
async function threeLayers(): Promise<TestStore> {
  const made = await newStore(65536);
  await layer(made, 'base.qcow2', undefined, 'write -P 1 0 4M');
  await layer(made, 'middle.qcow2', 'base.qcow2', 'write -P 2 1M 1M');
  await layer(made, 'top.qcow2', 'middle.qcow2', 'write -P 3 8M 64k', 'write -z 2M 1M');
  return made;
}

const commitsOf = async (path: string, ...args: string[]) =>
  Number(await git(path, 'rev-list', '--count', ...(args.length > 0 ? args : ['--all'])));

describe('importImage of a chain', () => {
  test('importImage makes a version of each layer, the lowest first, and reads of each what it holds by itself', async () => {
    const made = await threeLayers();
    const versions = await importOf(made, 'top.qcow2', { chain: true });
    expect(versions.map(({ readBytes, unchanged, branch }) => [readBytes, unchanged, branch])).toEqual([
      [4 * MIB, false, 'top'],
      [MIB, false, 'top'],
      [65536, false, 'top'],
    ]);
    expect(versions.map(({ source }) => source.file)).toEqual(
      ['base.qcow2', 'middle.qcow2', 'top.qcow2'].map((name) => made.file(name)),
    );
    const log = await git(made.path, 'log', '--reverse', '--format=%H %s', 'top');
    const titles = ['Import base.qcow2', 'Import middle.qcow2', 'Import top.qcow2'];
    expect(log.split('\n')).toEqual(versions.map(({ commit }, i) => `${commit} ${titles[i]}`));
    await judgeByQemu(made.store, versions);
    await gitFsck(made.path);
    expect(await git(made.path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/top');
  });

  test('importImage dates versions by when their files were written, and commits them now', async () => {
    const made = await threeLayers();
    await utimes(made.file('base.qcow2'), 1_500_000_000, 1_500_000_000);
    await utimes(made.file('middle.qcow2'), 1_600_000_000.75, 1_600_000_000.75);
    const before = Math.floor(Date.now() / 1000);
    await importOf(made, 'top.qcow2', { chain: true, message: 'from the old server' });
    const log = await git(made.path, 'log', '--reverse', '--format=%at %ct %s', 'top');
    const rows = log.split('\n').map((line) => line.split(' '));
    const written = Math.floor((await stat(made.file('top.qcow2'))).mtimeMs / 1000);
    expect(rows.map(([date]) => Number(date))).toEqual([1_500_000_000, 1_600_000_000, written]);
    for (const [, committed] of rows) expect(Number(committed)).toBeGreaterThanOrEqual(before);
    expect(await git(made.path, 'log', '-1', '--format=%B', 'top~2')).toBe(
      'from the old server\n\nImport base.qcow2.\n',
    );
  });

  test('importImage finds all that it has stored when it is run again, with the stat cache and without', async () => {
    const made = await threeLayers();
    await settle();
    const versions = await importOf(made, 'top.qcow2', { chain: true });
    const again = await importOf(made, 'top.qcow2', { chain: true });
    expect(again).toMatchObject(
      versions.map(({ commit }) => ({ commit, unchanged: true, readBytes: 0, newObjects: 0 })),
    );
    const other = { ...made, store: await reopen(made.path) };
    await utimes(made.file('base.qcow2'), 1, 1);
    const read = await importOf(other, 'top.qcow2', { chain: true });
    expect(read).toMatchObject(versions.map(({ commit }) => ({ commit, unchanged: true, newObjects: 0 })));
    expect(read.map(({ readBytes }) => readBytes)).toEqual([4 * MIB, MIB, 65536]);
    expect(await commitsOf(made.path)).toBe(3);
  });

  test('importImage appends what is new when the top was written to, and when the chain has grown', async () => {
    const made = await threeLayers();
    const [, middle, top] = await importOf(made, 'top.qcow2', { chain: true });
    await qemuIo(made.file('top.qcow2'), 'write -P 9 16M 64k');
    const second = await importOf(made, 'top.qcow2', { chain: true });
    expect(second).toMatchObject([{ unchanged: true }, { commit: middle!.commit }, { unchanged: false }]);
    expect(await git(made.path, 'rev-parse', 'top~1')).toBe(top!.commit);
    await layer(made, 'newer.qcow2', 'top.qcow2', 'write -P 4 20M 64k');
    const third = await importOf(made, 'newer.qcow2', { chain: true, branch: 'top' });
    expect(third.map(({ unchanged }) => unchanged)).toEqual([true, true, true, false]);
    expect(await commitsOf(made.path)).toBe(5);
    await judgeByQemu(made.store, third);
  });

  test('importImage makes no version of a layer that holds nothing', async () => {
    const made = await newStore(65536);
    await layer(made, 'base.qcow2', undefined, 'write -P 1 0 1M');
    await layer(made, 'empty.qcow2', 'base.qcow2');
    const versions = await importOf(made, 'empty.qcow2', { chain: true });
    expect(versions).toMatchObject([{ unchanged: false }, { unchanged: true, commit: versions[0]!.commit }]);
  });

  test('importImage makes one history with ten forks of ten overlays on one base', async () => {
    const made = await newStore(65536);
    await layer(made, 'base.qcow2', undefined, 'write -P 1 0 4M');
    await settle();
    const bases = new Set<string>();
    for (let i = 0; i < 10; i++) {
      await layer(made, `vm${i}.qcow2`, 'base.qcow2', `write -P ${20 + i} ${i}M 64k`);
      const versions = await importOf(made, `vm${i}.qcow2`, { chain: true });
      expect(versions.map(({ readBytes }) => readBytes)).toEqual([i === 0 ? 4 * MIB : 0, 65536]);
      bases.add(versions[0]!.commit);
    }
    expect(bases.size).toBe(1);
    expect(await commitsOf(made.path)).toBe(11);
    for (let i = 0; i < 10; i++) expect(await git(made.path, 'rev-parse', `vm${i}~1`)).toBe([...bases][0]);
    await gitFsck(made.path);
  });

  test('importImage continues from a base that was committed before, also from a copy of its file', async () => {
    const made = await newStore(65536);
    await layer(made, 'base.qcow2', undefined, 'write -P 1 0 1M');
    const base = await commitVersion(made.store, { disks: [{ name: 'vda', path: made.file('base.qcow2') }] });
    await qemuImg('convert', '-O', 'qcow2', made.file('base.qcow2'), made.file('copy.qcow2'));
    await layer(made, 'vm.qcow2', 'copy.qcow2', 'write -P 2 0 64k');
    const versions = await importOf(made, 'vm.qcow2', { chain: true });
    expect(versions).toMatchObject([{ commit: base.commit, unchanged: true }, { unchanged: false }]);
    expect(await git(made.path, 'rev-parse', 'vm~1')).toBe(base.commit);
  });

  test('importImage appends to a branch that holds something else', async () => {
    const made = await threeLayers();
    await writeFile(made.file('top.raw'), diskOf([7, 8], SMALL));
    const first = await commitVersion(made.store, { disks: [{ name: 'vda', path: made.file('top.raw') }] });
    const versions = await importOf(made, 'top.qcow2', { chain: true });
    expect(versions.map(({ unchanged }) => unchanged)).toEqual([false, false, false]);
    expect(await git(made.path, 'rev-parse', 'top~3')).toBe(first.commit);
  });

  test('importImage stores layers of other sizes, on a raw base', async () => {
    const made = await newStore();
    await writeFile(made.file('base.raw'), diskOf([1, 2, 3, 4, 5], SMALL, 512));
    await createOverlay(made.file('short.qcow2'), 'base.raw', 'raw', { size: '9k' });
    await createOverlay(made.file('long.qcow2'), 'short.qcow2', 'qcow2', { size: '4M' });
    await qemuIo(made.file('long.qcow2'), 'write -P 4 2M 1k');
    const versions = await importOf(made, 'long.qcow2', { chain: true });
    expect(versions.map(({ virtualSize }) => virtualSize)).toEqual([5 * SMALL - 512, 9216, 4 * MIB]);
    await judgeByQemu(made.store, versions);
  });

  test('importImage without options stores what the image has, and says so', async () => {
    const made = await threeLayers();
    const notices: string[] = [];
    const monitor = { onNotice: (text: string) => notices.push(text) };
    const versions = await importImage(made.store, { path: made.file('top.qcow2') }, monitor);
    expect(versions).toHaveLength(3);
    expect(notices).toEqual([
      expect.stringMatching(/top\.qcow2: its history is 3 layers and 0 internal snapshots$/),
    ]);
    await writeFile(made.file('plain.raw'), diskOf([1], SMALL));
    expect(await importOf(made, 'plain.raw')).toMatchObject([{ branch: 'plain', unchanged: false }]);
  });

  test('importImage stores the disk under another name, which makes other versions', async () => {
    const made = await threeLayers();
    await importOf(made, 'top.qcow2', { chain: true });
    const versions = await importOf(made, 'top.qcow2', { chain: true, disk: 'vdb', branch: 'other' });
    expect(versions.map(({ unchanged }) => unchanged)).toEqual([false, false, false]);
  });
});

describe('what importImage refuses', () => {
  test.each<[string, string, Partial<ImportRequest>]>([
    ['USAGE', 'nbd://host/disk', {}],
    ['BAD_NAME', 'top.qcow2', { disk: '../vda' }],
    ['BAD_NAME', 'top.qcow2', { branch: '-d' }],
    ['NOT_FOUND', 'none.qcow2', {}],
    ['USAGE', 'base.raw', { snapshots: true }],
  ])('importImage throws %s for %s with %j', async (code, name, request) => {
    const made = await newStore();
    await layer(made, 'top.qcow2', undefined);
    await writeFile(made.file('base.raw'), diskOf([1], SMALL));
    const path = name.startsWith('nbd:') ? name : made.file(name);
    await expect(importImage(made.store, { path, ...request })).rejects.toMatchObject({ code });
    expect(await git(made.path, 'for-each-ref')).toBe('');
  });

  test('importImage throws BAD_IMAGE for a chain that is a loop, and NOT_FOUND for a base that is missing', async () => {
    const made = await threeLayers();
    await qemuImg('rebase', '-u', '-b', 'top.qcow2', '-F', 'qcow2', made.file('base.qcow2'));
    await expect(importOf(made, 'top.qcow2')).rejects.toMatchObject({
      code: 'BAD_IMAGE',
      message: expect.stringContaining('loop'),
    });
    await qemuImg('rebase', '-u', '-b', 'gone.qcow2', '-F', 'qcow2', made.file('base.qcow2'));
    await expect(importOf(made, 'top.qcow2')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('gone.qcow2'),
    });
    expect(await git(made.path, 'for-each-ref')).toBe('');
  });
});
