import { truncate, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import {
  type CheckoutRequest,
  checkoutVersion,
  commitVersion,
  createTag,
  importImage,
} from '../../../store/index.ts';
import { createOverlay, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { git, gitFsck, tryGit } from '../git.ts';
import { listFiles, newStore, settle, type TestStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';
import { importOf, judgeByQemu } from './judged.ts';

const MIB = 2 ** 20;

/** Three snapshots, 1 MiB apart, and a present state with 64 KiB more. */
async function threeSnapshots(options: string[] = []): Promise<TestStore> {
  const made = await newStore(65536);
  const image = made.file('vm.qcow2');
  const more = options.flatMap((option) => ['-o', option]);
  await qemuImg('create', '-q', '-f', 'qcow2', ...more, image, '64M');
  await qemuIo(image, 'write -P 1 0 4M');
  for (const [i, name] of ['first', 'second', 'third'].entries()) {
    await qemuImg('snapshot', '-c', name, image);
    const last = name === 'third';
    await qemuIo(image, `write -P ${i + 2} ${i + 1}M ${last ? '64k' : '1M'}`);
  }
  return made;
}

describe('importImage of internal snapshots', () => {
  test.each([
    ['plain', []],
    ['with extended L2 entries', ['extended_l2=on']],
    ['of version 2', ['compat=0.10']],
    ['with small clusters', ['cluster_size=4k']],
  ])(
    'importImage makes a version of each snapshot, and reads what differs, when the image is %s',
    async (_, options) => {
      const made = await threeSnapshots(options);
      const versions = await importOf(made, 'vm.qcow2', { snapshots: true });
      expect(versions.map(({ tag, readBytes }) => [tag, readBytes])).toEqual([
        ['first', 4 * MIB],
        ['second', MIB],
        ['third', MIB],
        [undefined, 65536],
      ]);
      await judgeByQemu(made.store, versions);
      for (const { tag, commit } of versions.slice(0, 3))
        expect(await git(made.path, 'rev-parse', `refs/tags/${tag}`)).toBe(commit);
      const log = await git(made.path, 'log', '--reverse', '--format=%H %s', 'vm');
      expect(log.split('\n').map((line) => line.slice(65))).toEqual([
        'Import snapshot "first" of vm.qcow2',
        'Import snapshot "second" of vm.qcow2',
        'Import snapshot "third" of vm.qcow2',
        'Import vm.qcow2',
      ]);
      await gitFsck(made.path);
    },
  );

  test('checkoutVersion of an imported snapshot is what QEMU makes when it goes back to it', async () => {
    const made = await threeSnapshots();
    await importOf(made, 'vm.qcow2', { snapshots: true });
    const request: CheckoutRequest = { revision: 'second', output: made.file('out.qcow2') };
    await checkoutVersion(made.store, request);
    await qemuImg('snapshot', '-a', 'second', made.file('vm.qcow2'));
    await qemuImg('compare', made.file('out.qcow2'), made.file('vm.qcow2'));
  });

  test('importImage stores a state that comes back on top of what came between', async () => {
    const made = await threeSnapshots();
    await qemuImg('snapshot', '-a', 'first', made.file('vm.qcow2'));
    const versions = await importOf(made, 'vm.qcow2', { snapshots: true });
    expect(versions.map(({ unchanged }) => unchanged)).toEqual([false, false, false, false]);
    expect(await git(made.path, 'rev-parse', 'vm^{tree}')).toBe(
      await git(made.path, 'rev-parse', 'first^{tree}'),
    );
    expect(await git(made.path, 'rev-parse', 'vm~3')).toBe(versions[0]!.commit);
    const again = await importOf(made, 'vm.qcow2', { snapshots: true });
    expect(again.map(({ commit }) => commit)).toEqual(versions.map(({ commit }) => commit));
  });

  test('importImage reads nothing when it is run again, and commitVersion knows the file', async () => {
    const made = await threeSnapshots();
    await settle();
    const versions = await importOf(made, 'vm.qcow2');
    const again = await importOf(made, 'vm.qcow2');
    expect(again).toMatchObject(
      versions.map(({ commit, tag }) => ({ commit, tag, readBytes: 0, unchanged: true })),
    );
    const committed = await commitVersion(made.store, {
      disks: [{ name: 'vda', path: made.file('vm.qcow2') }],
    });
    expect(committed).toMatchObject({ unchanged: true, disks: [{ readBytes: 0 }] });
  });

  test('importImage adds the snapshots that came since', async () => {
    const made = await threeSnapshots();
    const versions = await importOf(made, 'vm.qcow2');
    await qemuImg('snapshot', '-c', 'fourth', made.file('vm.qcow2'));
    await qemuIo(made.file('vm.qcow2'), 'write -P 9 32M 64k');
    const again = await importOf(made, 'vm.qcow2');
    expect(again.map(({ tag, unchanged }) => [tag, unchanged])).toEqual([
      ['first', true],
      ['second', true],
      ['third', true],
      ['fourth', true],
      [undefined, false],
    ]);
    expect(again[3]!.commit).toBe(versions[3]!.commit);
    expect(await git(made.path, 'rev-parse', 'vm~1')).toBe(versions[3]!.commit);
    await judgeByQemu(made.store, again);
  });

  test('importImage stores layers first, then the snapshots of the top', async () => {
    const made = await newStore(65536);
    const [base, top] = [made.file('base.qcow2'), made.file('top.qcow2')];
    await qemuImg('create', '-q', '-f', 'qcow2', base, '64M');
    await qemuIo(base, 'write -P 1 0 2M');
    await createOverlay(top, 'base.qcow2');
    await qemuIo(top, 'write -P 2 1M 64k');
    await qemuImg('snapshot', '-c', 'one', top);
    await qemuImg('resize', '-q', top, '80M');
    await qemuIo(top, 'write -P 3 70M 64k', 'write -z 1M 64k');
    const versions = await importOf(made, 'top.qcow2', { chain: true, snapshots: true });
    expect(versions.map(({ readBytes, virtualSize }) => [readBytes, virtualSize])).toEqual([
      [2 * MIB, 64 * MIB],
      [65536, 64 * MIB],
      [65536, 80 * MIB],
    ]);
    await judgeByQemu(made.store, versions);
  });

  test('importImage of snapshots alone starts at the version that the base is known to hold', async () => {
    const made = await newStore(65536);
    const [base, top] = [made.file('base.qcow2'), made.file('top.qcow2')];
    await qemuImg('create', '-q', '-f', 'qcow2', base, '64M');
    await qemuIo(base, 'write -P 1 0 2M');
    await settle();
    const known = await commitVersion(made.store, { disks: [{ name: 'vda', path: base }] });
    await createOverlay(top, 'base.qcow2');
    await qemuIo(top, 'write -P 2 1M 64k');
    await qemuImg('snapshot', '-c', 'one', top);
    const versions = await importOf(made, 'top.qcow2', { snapshots: true });
    expect(versions).toMatchObject([{ readBytes: 65536 }, { readBytes: 0, unchanged: true }]);
    expect(await git(made.path, 'rev-parse', 'one~1')).toBe(known.commit);
    await judgeByQemu(made.store, versions);
  });

  test('importImage reads the snapshots of an encrypted image with its key', async () => {
    const made = await newStore(65536);
    const secret = 'secret,id=s,data=key';
    const options = 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10';
    const opened = `driver=qcow2,file.filename=${made.file('vm.qcow2')},encrypt.key-secret=s`;
    await qemuImg(
      'create',
      '-q',
      '-f',
      'qcow2',
      '--object',
      secret,
      '-o',
      options,
      made.file('vm.qcow2'),
      '16M',
    );
    await writeFile(made.file('disk.raw'), Buffer.alloc(MIB, 1));
    await truncate(made.file('disk.raw'), 16 * MIB);
    const from = ['convert', '-n', '--object', secret, '-f', 'raw', made.file('disk.raw')];
    await qemuImg(...from, '--target-image-opts', opened);
    await qemuImg('snapshot', '--object', secret, '--image-opts', '-c', 'one', opened);
    await writeFile(made.file('disk.raw'), Buffer.alloc(65536, 2), { flag: 'r+' });
    await qemuImg(...from, '--target-image-opts', opened);
    const versions = await importOf(made, 'vm.qcow2', { key: Buffer.from('key') });
    expect(versions.map(({ tag }) => tag)).toEqual(['one', undefined]);
    const heads = await Promise.all(['one', 'vm'].map(async (name) => (await readBack(made.store, name))[0]));
    expect(heads).toEqual([1, 2]);
    await expect(importOf(made, 'vm.qcow2', { key: Buffer.from('other') })).rejects.toMatchObject({
      code: 'WRONG_KEY',
    });
  });

  test('importImage says what it leaves out', async () => {
    const made = await threeSnapshots();
    await createOverlay(made.file('top.qcow2'), 'vm.qcow2');
    const notices: string[] = [];
    const monitor = { onNotice: (text: string) => notices.push(text) };
    await importImage(made.store, { path: made.file('top.qcow2'), chain: true }, monitor);
    await importImage(made.store, { path: made.file('vm.qcow2'), chain: true }, monitor);
    expect(notices).toEqual([
      expect.stringMatching(/vm\.qcow2: 3 internal snapshots left out: import that file by itself$/),
      expect.stringMatching(/vm\.qcow2: has no backing file$/),
      expect.stringMatching(/vm\.qcow2: 3 internal snapshots left out: pass --snapshots$/),
    ]);
  });
});

describe('tags that are there', () => {
  test('importImage throws EXISTS and moves nothing when a tag means another version', async () => {
    const made = await threeSnapshots();
    await commitVersion(made.store, {
      disks: [{ name: 'vda', path: made.file('vm.qcow2') }],
      branch: 'other',
    });
    await createTag(made.store, 'second', 'other');
    const refs = await git(made.path, 'for-each-ref');
    await expect(importOf(made, 'vm.qcow2')).rejects.toMatchObject({
      code: 'EXISTS',
      message: expect.stringMatching(/^tag 'second' exists.*--tag-prefix/),
    });
    expect(await git(made.path, 'for-each-ref')).toBe(refs);
    const versions = await importOf(made, 'vm.qcow2', { tagPrefix: 'vm/' });
    expect(versions.map(({ tag }) => tag)).toEqual(['vm/first', 'vm/second', 'vm/third', undefined]);
    await gitFsck(made.path);
  });

  test.each([
    ['of another disk', 'second', ''],
    ['in the way of others', 'vm', 'vm/'],
    ['below the name of one', 'second/of/another', ''],
  ])('importImage throws EXISTS before it reads anything when a tag is %s', async (_, tag, tagPrefix) => {
    const made = await threeSnapshots();
    await qemuImg('create', '-q', '-f', 'qcow2', made.file('small.qcow2'), '1M');
    await commitVersion(made.store, { disks: [{ name: 'vda', path: made.file('small.qcow2') }] });
    await createTag(made.store, tag, 'small');
    const files = listFiles(made.path);
    await expect(importOf(made, 'vm.qcow2', { tagPrefix })).rejects.toMatchObject({ code: 'EXISTS' });
    expect(listFiles(made.path)).toEqual(files);
  });

  test('importImage throws EXISTS when a tag would have the name of a branch', async () => {
    const made = await threeSnapshots();
    await expect(importOf(made, 'vm.qcow2', { branch: 'third' })).rejects.toMatchObject({
      code: 'EXISTS',
      message: expect.stringContaining("tag 'third' would hide the branch"),
    });
    expect(await git(made.path, 'for-each-ref')).toBe('');
  });

  test('importImage takes tags that mean the same, also annotated ones', async () => {
    const made = await threeSnapshots();
    await importOf(made, 'vm.qcow2');
    await git(made.path, 'tag', '-f', '-a', '-m', 'a note', 'second', 'second');
    const annotated = await git(made.path, 'rev-parse', 'refs/tags/second');
    expect(await importOf(made, 'vm.qcow2')).toMatchObject(Array(4).fill({ unchanged: true }));
    expect(await git(made.path, 'rev-parse', 'refs/tags/second')).toBe(annotated);
  });

  test('importImage puts a tag back that was removed', async () => {
    const made = await threeSnapshots();
    const versions = await importOf(made, 'vm.qcow2');
    await git(made.path, 'tag', '-d', 'second');
    await importOf(made, 'vm.qcow2');
    expect(tryGit(made.path, 'rev-parse', 'refs/tags/second')).toBe(versions[1]!.commit);
  });
});
