import { open, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type ImportRequest, importImage, initStore } from '../../../store/index.ts';
import { qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { quickFolder } from '../../reliability/quick-folder.ts';
import { git, gitFsck } from '../git.ts';
import { listFiles, newStore, reopen, SMALL, settle, type TestStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';
import { type TableEntry, writeManySnapshots, writeSnapshotTable } from './snapshot-table.ts';

async function image(size = '1M'): Promise<TestStore & { vm: string }> {
  const made = await newStore();
  const vm = made.file('vm.qcow2');
  await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', vm, size);
  await qemuIo(vm, 'write -P 1 0 64k');
  return { ...made, vm };
}

const importOf = ({ store, vm }: TestStore & { vm: string }, request: Partial<ImportRequest> = {}) =>
  importImage(store, { path: vm, ...request });

describe('names of snapshots', () => {
  const NAMES = [
    'a/b',
    'a',
    '..',
    '.',
    '',
    ' ',
    'two\nlines',
    '\x1b[31mred',
    '-d',
    'HEAD',
    '@',
    'refs/heads/x',
    'x.lock',
    'x.',
    '0'.repeat(40),
    'f'.repeat(64),
    'a%20b',
    'a b',
    '@{1}',
    'é',
    '\u202eover',
    'HEAD^{tree}',
    'x..y',
    'x:y',
    '*',
    '\\',
    'vm~1',
  ];

  test('importImage gives every snapshot a tag that git takes, whatever its name', async () => {
    const made = await image();
    const long = [`${'n'.repeat(65_530)}1`, `${'n'.repeat(65_530)}2`];
    const names = [...NAMES, ...long];
    await writeSnapshotTable(
      made.vm,
      names.map((name, i) => ({ id: `${i}`, name, date: i })),
    );
    const versions = await importOf(made);
    const tags = versions.slice(0, -1).map(({ tag }) => tag!);
    expect(new Set(tags).size).toBe(names.length);
    for (const tag of tags) await git(made.path, 'check-ref-format', `refs/tags/${tag}`);
    const refs = (await git(made.path, 'for-each-ref', '--format=%(refname)', 'refs/tags')).split('\n');
    expect(refs.sort()).toEqual(tags.map((tag) => `refs/tags/${tag}`).sort());
    expect(await git(made.path, 'for-each-ref', '--format=%(refname)', 'refs/heads')).toBe('refs/heads/vm');
    expect(await git(made.path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/vm');
    // Messages and logs have no control characters of an image in them.
    expect(await git(made.path, 'log', '--format=%B', 'vm')).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/);
    await gitFsck(made.path);
  });

  test('importImage keeps snapshots of one name, and of one id, apart', async () => {
    const made = await image();
    const entries: TableEntry[] = ['1', '2', '2'].map((id, i) => ({ id, name: 'same', date: i }));
    await writeSnapshotTable(made.vm, [...entries, { id: '9', name: 'other', date: 9 }]);
    const versions = await importOf(made);
    expect(versions.map(({ tag }) => tag)).toEqual([
      'same%id1',
      'same%id2',
      'same%id2%copy1',
      'other',
      undefined,
    ]);
  });

  test.each(['-d', 'a..b/', 'x y', 'refs\n', '/'])(
    'importImage throws BAD_NAME for the tag prefix %j',
    async (tagPrefix) => {
      const made = await image();
      await writeSnapshotTable(made.vm, [{ id: '1', name: 'one' }]);
      const files = listFiles(made.path);
      await expect(importOf(made, { tagPrefix })).rejects.toMatchObject({ code: 'BAD_NAME' });
      expect(listFiles(made.path)).toEqual(files);
    },
  );
});

test('importImage says that it leaves the memory of a machine out, and tells how much', async () => {
  const made = await image();
  await writeSnapshotTable(made.vm, [{ id: '1', name: 'running', l1Entries: 2, vmStateSize: 100_000 }]);
  const notices: string[] = [];
  const monitor = { onNotice: (text: string) => notices.push(text) };
  const versions = await importImage(made.store, { path: made.vm, snapshots: true }, monitor);
  expect(versions.map(({ source }) => source.vmStateSize)).toEqual([100_000, 0]);
  expect(notices).toEqual([
    expect.stringMatching(/1 snapshot with the memory of a running machine: only the disk/),
  ]);
});

describe('damaged tables', () => {
  test.each<[string, TableEntry[]]>([
    ['an L1 table behind the end', [{ id: '1', name: 'one', l1Offset: 2 ** 40 }]],
    ['an L1 table that is not aligned', [{ id: '1', name: 'one', l1Offset: 12_345 }]],
    ['an L1 table of 2^32 - 1 entries', [{ id: '1', name: 'one', l1Entries: 2 ** 32 - 1 }]],
    ['a disk that its L1 table does not reach', [{ id: '1', name: 'one', diskSize: 2 ** 40 }]],
  ])('importImage throws BAD_IMAGE for %s of the second snapshot, and keeps the first', async (_, [bad]) => {
    const made = await image();
    await writeSnapshotTable(made.vm, [
      { id: '0', name: 'whole', date: 0 },
      { ...bad!, date: 1 },
    ]);
    await expect(importOf(made)).rejects.toMatchObject({
      code: 'BAD_IMAGE',
      message: expect.stringMatching(/^\/.*"1"/),
    });
    expect((await readBack(made.store, 'whole')).subarray(0, 65_536).every((byte) => byte === 1)).toBe(true);
    await gitFsck(made.path);
  });

  test('importImage throws BAD_IMAGE and stores nothing when the snapshot table is cut off', async () => {
    const made = await image();
    await writeSnapshotTable(made.vm, [{ id: '1', name: 'one' }]);
    const files = listFiles(made.path);
    const file = await open(made.vm, 'r');
    const { size } = await file.stat();
    await file.close();
    await truncate(made.vm, size - 8);
    await expect(importOf(made)).rejects.toMatchObject({ code: 'BAD_IMAGE' });
    expect(listFiles(made.path)).toEqual(files);
  });
});

test('importImage stores 1000 snapshots, and finds them again', { timeout: 0 }, async () => {
  // In memory: a version costs some twenty fsyncs.
  const folder = await quickFolder();
  const made = await initStore(folder, { clusterSize: SMALL });
  const path = made.folder;
  made.close();
  const vm = join(folder, 'vm.qcow2');
  await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', vm, '1M');
  await qemuIo(vm, 'write -P 1 0 64k');
  await writeManySnapshots(vm, 1000, 16);
  await settle();
  const store = await reopen(path);
  const versions = await importImage(store, { path: vm });
  expect(versions).toHaveLength(1001);
  // All but the first differ in two clusters from the one before: their own, and the one that is as it was again.
  expect(versions.slice(1, 1000).every(({ readBytes }) => readBytes === 2 * SMALL)).toBe(true);
  const bytes = await readBack(store, 'hour-500');
  expect(bytes.toString('latin1', 4 * SMALL, 4 * SMALL + 12)).toBe('snapshot 500');
  expect(await git(path, 'rev-list', '--count', 'vm')).toBe('1001');
  const again = await importImage(store, { path: vm });
  expect(again.map(({ commit }) => commit)).toEqual(versions.map(({ commit }) => commit));
  expect(again.every(({ readBytes, unchanged }) => readBytes === 0 && unchanged)).toBe(true);
  await gitFsck(path);
});
