import { readFileSync, writeFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  BRANCHES,
  checkoutVersion,
  collectGarbage,
  commitVersion,
  DiskSource,
  deleteRef,
  findDisk,
  readVersion,
  resolveCommit,
} from '../../../../store/index.ts';
import { FrozenDisk } from '../../../../store/serve/session/frozen-disk.ts';
import { makeOverlay, openOverlay } from '../../../../store/serve/session/overlay-file.ts';
import { noise, qemuImg } from '../../../qcow2/qemu.ts';
import { diskOf } from '../../disks.ts';
import { git } from '../../git.ts';
import { commitBytes, SMALL } from '../../new-store.ts';
import { readBack } from '../../read-back.ts';
import { bytesOf, sessionPlace } from './places.ts';

const DISK = diskOf([1, 2, 0, 0, 5, 6, 0, 8]);

test('commitSession stores what the export shows, reads what was written since the last time only, and leaves the rest as it is', async () => {
  const place = await sessionPlace(DISK);
  const { sessions, store, path } = place;
  const first = await git(path, 'rev-parse', 'web');
  const web = (await sessions.export('web'))!;
  await web.write!(100, Buffer.alloc(50, 9));
  await web.trim!(4 * SMALL, SMALL);
  const one = await sessions.commit('web', { message: 'One' });
  expect(one).toMatchObject({ branch: 'web', parents: [first], newBranch: false, unchanged: false });
  // The trimmed cluster is not read.
  expect(one).toMatchObject({ readBytes: SMALL, newClusters: 1 });
  expect((await readBack(store, 'web')).equals(await bytesOf(web))).toBe(true);
  await web.write!(3 * SMALL, Buffer.alloc(SMALL, 4));
  await web.write!(100, Buffer.alloc(50, 10));
  const two = await sessions.commit('web');
  expect(two).toMatchObject({ parents: [one.commit], readBytes: 2 * SMALL, newClusters: 2 });
  expect((await readBack(store, 'web')).equals(await bytesOf(web))).toBe(true);
  expect(await sessions.commit('web')).toMatchObject({ commit: two.commit, unchanged: true, readBytes: 0 });
  expect(await git(path, 'log', '--format=%s', 'web')).toBe(`Store web\nOne\nStore web.raw`);
  expect(await git(path, 'reflog', '--format=%gs', 'web')).toContain('commit: One');
  await git(path, 'fsck', '--full', '--strict');
  const output = place.file('out.qcow2');
  await checkoutVersion(store, { revision: 'web', output });
  await web.release();
  await sessions.close();
  expect((await place.asQemuSees()).equals(await readBack(store, 'web'))).toBe(true);
  await qemuImg('compare', output, place.file('seen.qcow2'));
});

test('commitSession reads all that the overlay holds after the server was started again, on the version that its header names', async () => {
  const place = await sessionPlace(DISK);
  const web = (await place.sessions.export('web'))!;
  await web.write!(0, Buffer.alloc(2 * SMALL, 9));
  await place.sessions.commit('web');
  await web.write!(5 * SMALL, Buffer.alloc(1, 7));
  const expected = await bytesOf(web);
  await web.release();
  await place.sessions.close();
  const again = await place.again();
  expect(await again.commit('web')).toMatchObject({ readBytes: 3 * SMALL, newClusters: 1, unchanged: false });
  expect((await readBack(place.store, 'web')).equals(expected)).toBe(true);
  expect(await again.commit('web')).toMatchObject({ readBytes: 0, unchanged: true });
});

test('commitSession goes by the overlay when that is an older copy of itself', async () => {
  const place = await sessionPlace(DISK);
  const web = (await place.sessions.export('web'))!;
  await web.write!(0, Buffer.alloc(1, 9));
  await web.flush!();
  const older = readFileSync(place.overlay);
  const expected = await bytesOf(web);
  await web.write!(5 * SMALL, Buffer.alloc(1, 7));
  await place.sessions.commit('web');
  await web.release();
  await place.sessions.close();
  writeFileSync(place.overlay, older);
  await (await place.again()).commit('web');
  expect((await readBack(place.store, 'web')).equals(expected)).toBe(true);
});

describe('when the branch has moved', () => {
  test('commitSession throws, keeps what was written, and commits to another branch', async () => {
    const place = await sessionPlace(DISK);
    const web = (await place.sessions.export('web'))!;
    await web.write!(0, Buffer.alloc(1, 9));
    const base = await git(place.path, 'rev-parse', 'web');
    await commitBytes(place, 'web', diskOf([1, 1, 1, 1, 1, 1, 1, 1]));
    const failure = { code: 'REF_MOVED', message: expect.stringContaining('--branch') };
    await expect(place.sessions.commit('web')).rejects.toMatchObject(failure);
    const made = await place.sessions.commit('web', { branch: 'mine' });
    expect(made).toMatchObject({ branch: 'mine', newBranch: true, parents: [base] });
    expect((await readBack(place.store, 'mine')).equals(await bytesOf(web))).toBe(true);
    expect(await place.sessions.commit('web', { branch: 'mine' })).toMatchObject({ unchanged: true });
    await expect(place.sessions.commit('web')).rejects.toMatchObject(failure);
  });

  test('commitSession goes on when somebody has made a version of the same disk', async () => {
    const place = await sessionPlace(DISK);
    const web = (await place.sessions.export('web'))!;
    await web.write!(0, Buffer.alloc(1, 9));
    const { commit } = await commitBytes(place, 'web', DISK, { allowEmpty: true, message: 'Same' });
    expect(await place.sessions.commit('web')).toMatchObject({ parents: [commit] });
  });

  test('commitSession knows its branch after a kill between the session and the branch, and after the branch was set back', async () => {
    const place = await sessionPlace(DISK);
    const base = await git(place.path, 'rev-parse', 'web');
    const web = (await place.sessions.export('web'))!;
    await web.write!(0, Buffer.alloc(1, 9));
    await place.sessions.commit('web');
    await git(place.path, 'update-ref', 'refs/heads/web', base);
    await web.release();
    await place.sessions.close();
    const again = await place.again();
    expect(await again.commit('web')).toMatchObject({ parents: [base], unchanged: false });
  });
});

test('commitSession keeps the other disks and the attachments of a version', async () => {
  const place = await sessionPlace(DISK);
  const { store, file } = place;
  for (const name of ['a', 'b']) writeFileSync(file(`${name}.raw`), DISK);
  writeFileSync(file('vm.xml'), '<domain/>');
  const disks = ['a', 'b'].map((name) => ({ name, path: file(`${name}.raw`) }));
  await commitVersion(store, {
    disks,
    branch: 'vm',
    attachments: [{ name: 'vm.xml', path: file('vm.xml') }],
  });
  await expect(place.sessions.export('vm')).rejects.toMatchObject({ code: 'USAGE' });
  const [a, b] = [(await place.sessions.export('vm:a'))!, (await place.sessions.export('vm:b'))!];
  await a.write!(0, Buffer.alloc(1, 1));
  await b.write!(0, Buffer.alloc(1, 2));
  await place.sessions.commit('vm:a');
  await place.sessions.commit('vm:b');
  const before = await git(place.path, 'rev-parse', 'vm~2:disks/a', 'vm~2:disks/b', 'vm~2:files');
  const after = await git(place.path, 'rev-parse', 'vm~1:disks/a', 'vm:disks/b', 'vm:files');
  const [a0, b0, files] = before.split('\n');
  const [a1, b1, filesNow] = after.split('\n');
  expect(a1).not.toBe(a0);
  expect(b1).not.toBe(b0);
  expect(filesNow).toBe(files);
  expect(await git(place.path, 'rev-parse', 'vm:disks/a')).toBe(a1);
  expect((await place.sessions.list()).map(({ name, disk }) => [name, disk])).toEqual([
    ['vm:a', 'a'],
    ['vm:b', 'b'],
  ]);
});

test('commitSession stores the disk of one instant each time while it is written to', async () => {
  // A counter that is written to the first cluster, then to the last: the first is never behind, and at most one ahead; in between lies noise.
  const clusters = 600;
  let waits = 0;
  const name = 'read' as const;
  const read = FrozenDisk.prototype[name] as (
    this: FrozenDisk,
    at: number,
    into: Uint8Array,
  ) => Promise<void>;
  const spy = vi.spyOn(FrozenDisk.prototype, 'read').mockImplementation(async function (
    this: FrozenDisk,
    at,
    into,
  ) {
    // A disk that is slow, so that the writer is far ahead.
    for (let i = 0; i < 5; i++) await setImmediate();
    waits++;
    await read.call(this, at, into);
  });
  onTestFinished(() => spy.mockRestore());
  const place = await sessionPlace(Buffer.alloc(clusters * SMALL, 1));
  const web = (await place.sessions.export('web'))!;
  const model: number[] = Array<number>(clusters).fill(-1);
  let isOver = false;
  let written = 0;
  const last = (clusters - 1) * SMALL;
  const counter = (value: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
  };
  const writer = (async () => {
    for (let value = 1; !isOver; value++) {
      await web.write!(0, counter(value));
      const cluster = 1 + ((value * 7919) % (clusters - 2));
      await web.write!(cluster * SMALL, Buffer.alloc(SMALL, value % 256));
      model[cluster] = value;
      await web.write!(last, counter(value));
      if (value % 16 === 0) await web.flush!();
      written = value;
      await setImmediate();
    }
  })();
  let before = 0;
  for (let i = 0; i < 20; i++) {
    await place.sessions.commit('web');
    const bytes = await readBack(place.store, 'web');
    const [first, second] = [bytes.readBigUInt64LE(0), bytes.readBigUInt64LE(last)].map(Number);
    expect([first! - second!, second! >= before]).toEqual([expect.toBeOneOf([0, 1]), true]);
    before = first!;
    // All that was written up to the counter is there, and nothing that was written behind it.
    const expected = Array<number>(clusters).fill(1);
    for (let value = 1; value <= second!; value++)
      expected[1 + ((value * 7919) % (clusters - 2))] = value % 256;
    const inFlight = 1 + (((second! + 1) * 7919) % (clusters - 2));
    for (let cluster = 1; cluster < clusters - 1; cluster++) {
      const byte = bytes[cluster * SMALL]!;
      const isTorn = cluster === inFlight && byte === (second! + 1) % 256;
      if (!isTorn) expect(byte, `cluster ${cluster} of commit ${i}`).toBe(expected[cluster]);
    }
    while (written < before + 20) await setImmediate();
  }
  isOver = true;
  await writer;
  expect(waits).toBeGreaterThan(20);
  await git(place.path, 'fsck', '--full', '--strict');
  await place.sessions.commit('web');
  expect((await readBack(place.store, 'web')).equals(await bytesOf(web))).toBe(true);
  await web.release();
  await place.sessions.close();
  expect((await place.asQemuSees()).equals(await readBack(place.store, 'web'))).toBe(true);
});

test('FrozenDisk keeps bounded bytes of what is written to before it is read: the writer waits', async () => {
  const clusterSize = 2 ** 16;
  const bytes = noise(24 * 2 ** 20, 4);
  const place = await sessionPlace(Buffer.alloc(bytes.length), clusterSize);
  await (await place.sessions.export('web'))!.write!(0, bytes);
  await place.sessions.discard('web', { force: true });
  const base = findDisk(readVersion(place.store.objects, await resolveCommit(place.store, 'web')), undefined);
  const source = new DiskSource(place.store.objects, base);
  const backingName = () => 'nbd://localhost/web';
  await makeOverlay(place.store, place.overlay, { base, source, backing: backingName() });
  const { disk } = await openOverlay(place.store, place.overlay, { openSource: () => source, backingName });
  await disk.write(0, bytes);
  const frozen = disk.freeze();
  let isDone = false;
  const zeroing = disk.zero(0, bytes.length).then(() => {
    isDone = true;
  });
  for (let i = 0; i < 100; i++) await setImmediate();
  expect([frozen.keptBytes, isDone]).toEqual([16 * 2 ** 20, false]);
  // What is not asked to be kept can be written to meanwhile, and read as it is now.
  const now = Buffer.alloc(clusterSize);
  await disk.read(0, now);
  expect(now.every((byte) => byte === 0)).toBe(true);
  const kinds = [];
  for await (const { kind } of frozen.extentsSinceLast()) kinds.push(kind);
  expect(kinds).toEqual(Array(bytes.length / clusterSize).fill('data'));
  const read = Buffer.alloc(bytes.length);
  for (let at = 0; at < bytes.length; at += 2 ** 20) await frozen.read(at, read.subarray(at, at + 2 ** 20));
  expect(read.equals(bytes)).toBe(true);
  await zeroing;
  expect([frozen.keptBytes, frozen.left]).toEqual([0, 0]);
  frozen.end(true);
  await disk.read(bytes.length - clusterSize, now);
  expect(now.every((byte) => byte === 0)).toBe(true);
  await disk.close();
});

test('collectGarbage keeps what a session stands on until that is discarded', async () => {
  const place = await sessionPlace(DISK);
  const web = (await place.sessions.export('web'))!;
  await web.write!(0, Buffer.alloc(1, 9));
  await commitBytes(place, 'other', diskOf([7]));
  await deleteRef(place.store, BRANCHES, 'web');
  await collectGarbage(place.store, { prune: 'now' });
  expect((await bytesOf(web)).subarray(1).equals(DISK.subarray(1))).toBe(true);
  await web.release();
  await place.sessions.close();
  await git(place.path, 'gc', '--prune=now', '--quiet');
  const again = await place.again();
  const back = (await again.export('web'))!;
  expect((await bytesOf(back)).subarray(1).equals(DISK.subarray(1))).toBe(true);
  await expect(again.discard('web')).rejects.toMatchObject({ code: 'IN_USE' });
  await again.discard('web', { force: true });
  await expect(back.write!(0, Buffer.alloc(1))).rejects.toMatchObject({ code: 'IN_USE' });
  expect(await git(place.path, 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/other');
  expect(await again.list()).toEqual([]);
});
