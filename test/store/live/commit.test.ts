import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { commitVersion } from '../../../store/index.ts';
import { readVersion } from '../../../store/version/version.ts';
import { qemuCheck, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { SMALL } from '../new-store.ts';
import { LivePlace, MIB } from './place.ts';

const NAME = /^imgstore-[0-9a-f]{64}-[0-9a-f]{32}-vda$/;

test('commitMachine reads only what was written since, version after version', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  const first = await place.commitExactly(machine);
  expect(first.notices).toEqual([]);
  for (const write of ['write -P 1 2M 4k', 'write -z 0 12k', 'discard 512k 64k', 'write -P 2 4092k 4k']) {
    await machine.io(0, write);
    const { readBytes, notices } = await place.commitExactly(machine);
    expect(notices, write).toEqual([]);
    // The last cluster is read each time; zeros of less than a cluster of the image are data.
    expect(readBytes[0], write).toBeLessThanOrEqual(4 * SMALL);
    expect(await machine.bitmaps()).toEqual([expect.stringMatching(NAME)]);
  }
  expect(await place.commitExactly(machine)).toMatchObject({ unchanged: true, notices: [] });
  await machine.io(0, 'write -P 3 1M 4k');
  const after = await place.commitExactly(machine);
  expect(after).toMatchObject({ unchanged: false, notices: [] });
  expect(after.readBytes[0]).toBeLessThanOrEqual(2 * SMALL);
  await machine.quit();
  await qemuCheck(machine.images[0]!);
});

test('commitMachine and commitVersion go on from each other, as the machine runs or not', async () => {
  const place = await LivePlace.create();
  const [image] = place.images;
  const disks = [{ name: 'vda', path: image! }];
  const notices: string[] = [];
  const offline = () =>
    commitVersion(place.made.store, { disks }, { onNotice: (text) => notices.push(text) });
  await commitVersion(place.made.store, { disks, track: true });
  for (const round of [1, 2]) {
    const machine = await place.start();
    await machine.io(0, `write -P ${round} 2M 4k`);
    const live = await place.commitExactly(machine);
    expect(live.notices).toEqual([]);
    expect(live.readBytes[0]).toBeLessThanOrEqual(2 * SMALL);
    await machine.io(0, `write -P ${round} 3M 4k`);
    await machine.quit();
    const result = await offline();
    expect(result.parents).toEqual([live.commit]);
    expect(result.disks[0]!.readBytes).toBeLessThanOrEqual(2 * SMALL);
    await qemuCheck(image!);
  }
  expect(notices).toEqual([]);
});

test('commitMachine reads all after a kill of QEMU, and keeps track again', async () => {
  const place = await LivePlace.create();
  await place.saveBitmap();
  const machine = await place.start();
  await machine.io(0, 'write -P 9 2M 4k');
  await machine.io(0, 'flush');
  await machine.kill();
  const again = await place.start();
  const { notices, readBytes } = await place.commitExactly(again);
  expect(notices).toEqual([
    'disk vda: its bitmap is not trusted, so all of it is read: it was not saved when the image was last written',
  ]);
  expect(readBytes[0]).toBeGreaterThanOrEqual(MIB);
  await again.io(0, 'write -P 8 3M 4k');
  const next = await place.commitExactly(again);
  expect(next.notices).toEqual([]);
  expect(next.readBytes[0]).toBeLessThanOrEqual(2 * SMALL);
});

test('commitMachine takes over from a bitmap that was not saved although nothing has changed', async () => {
  const place = await LivePlace.create();
  const { commit } = await place.saveBitmap();
  await (await place.start()).kill();
  const again = await place.start();
  expect(await place.commitExactly(again)).toMatchObject({ commit, unchanged: true });
  expect(await again.bitmaps()).toHaveLength(1);
  await again.io(0, 'write -P 8 3M 4k');
  const next = await place.commitExactly(again);
  expect(next.notices).toEqual([]);
  expect(next.readBytes[0]).toBeLessThanOrEqual(2 * SMALL);
});

test('commitMachine leaves bitmaps of others as they are', async () => {
  const place = await LivePlace.create();
  await qemuImg('bitmap', '--add', '-g', '64k', place.images[0]!, 'backup');
  const machine = await place.start();
  await place.commitExactly(machine);
  await machine.io(0, 'write -P 1 2M 4k');
  await place.commitExactly(machine);
  expect((await machine.bitmaps()).toSorted()).toEqual(['backup', expect.stringMatching(NAME)]);
  await machine.quit();
  const { 'format-specific': format } = JSON.parse(await qemuImg('info', '--output=json', place.images[0]!));
  expect(format.data.bitmaps.map(({ name }: { name: string }) => name)).toContain('backup');
});

test('commitMachine does not trust a bitmap of another store, and puts its own in that place', async () => {
  const [place, other] = [await LivePlace.create(), await LivePlace.create()];
  const machine = await place.start();
  await other.commit(machine);
  await machine.io(0, 'write -P 1 2M 4k');
  const { notices } = await place.commitExactly(machine);
  expect(notices).toEqual([
    'disk vda: its bitmap is not trusted, so all of it is read: it is of another store or another image, or the backing file has changed',
  ]);
  expect(await machine.bitmaps()).toHaveLength(1);
});

test('commitMachine does not trust a bitmap when the branch has gone on', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  await place.commitExactly(machine);
  await commitVersion(place.made.store, {
    disks: [{ name: 'vda', path: machine.images[0]! }],
    branch: 'vm',
    forceShare: true,
    allowEmpty: true,
  });
  const { notices } = await place.commitExactly(machine);
  expect(notices[0]).toMatch(/the branch has gone on since$/);
  // Another branch may start from there.
  await machine.io(0, 'write -P 4 3M 4k');
  const forked = await place.commitExactly(machine, { branch: 'fork' });
  expect(forked.notices).toEqual([]);
  expect(forked.readBytes[0]).toBeLessThanOrEqual(2 * SMALL);
});

test('commitMachine does not trust a bitmap when the disk was smaller for a while', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  await place.commitExactly(machine);
  await machine.client.execute('block_resize', { device: 'virtio0', size: MIB / 2 });
  await machine.client.execute('block_resize', { device: 'virtio0', size: 4 * MIB });
  const { notices } = await place.commitExactly(machine);
  expect(notices[0]).toMatch(/the disk was made smaller meanwhile$/);
});

test('commitMachine reads what a disk has grown by', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  await place.commitExactly(machine);
  await machine.client.execute('block_resize', { device: 'virtio0', size: 6 * MIB });
  await machine.io(0, 'write -P 3 5M 8k');
  const { notices, readBytes } = await place.commitExactly(machine);
  expect(notices).toEqual([]);
  expect(readBytes[0]).toBeLessThan(MIB);
});

test('commitMachine keeps track of an overlay as long as the files below it stay as they are', async () => {
  const place = await LivePlace.create();
  const overlay = place.made.file('top.qcow2');
  await qemuImg('create', '-q', '-f', 'qcow2', '-b', place.images[0]!, '-F', 'qcow2', overlay);
  const drives = [`file=${overlay},if=virtio,format=qcow2`];
  const start = () => place.start({ drives });
  const machine = await start();
  expect((await place.commit(machine)).notices).toEqual([]);
  await machine.io(0, 'write -P 1 2M 4k');
  const next = await place.commit(machine);
  expect(next.notices).toEqual([]);
  expect(next.readBytes[0]).toBeLessThanOrEqual(2 * SMALL);
  await machine.quit();
  await sleep(30);
  await qemuIo(place.images[0]!, 'write -P 9 3M 4k');
  const again = await start();
  const { notices, commit } = await place.commit(again);
  expect(notices[0]).toMatch(/the backing file has changed$/);
  expect((await place.stored(commit))[3 * MIB]).toBe(9);
});

test('commitMachine stores disks at one moment under their names, and takes those that are named', async () => {
  const place = await LivePlace.create(['a', 'b']);
  const machine = await place.start();
  const both = await place.commitExactly(machine);
  expect(both.readBytes).toHaveLength(2);
  const { disks } = readVersion(place.made.store.objects, both.commit);
  expect(disks.map(({ name }) => name)).toEqual(['vda', 'vdb']);
  const one = await place.commit(machine, { branch: 'one', nodes: [{ node: 'virtio1', name: 'data' }] });
  expect(one.readBytes).toHaveLength(1);
  await expect(place.commit(machine, { nodes: [{ node: 'nowhere' }] })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

test('commitMachine reads all of a raw disk each time, and says so', async () => {
  const place = await LivePlace.create();
  const raw = place.made.file('disk.raw');
  await qemuImg('convert', '-O', 'raw', place.images[0]!, raw);
  const machine = await place.start({ drives: [`file=${raw},if=virtio,format=raw`] });
  for (const pattern of [1, 2]) {
    await machine.io(0, `write -P ${pattern} 2M 4k`);
    const { notices, commit, readBytes } = await place.commit(machine);
    expect(notices).toEqual([
      'disk vda: the next commit will read all of it: only a qcow2 of version 1.1 with its data in itself has bitmaps that are kept',
    ]);
    expect(readBytes[0]).toBeGreaterThanOrEqual(MIB);
    const stored = await place.stored(commit);
    expect([stored[0], stored[2 * MIB], stored[3 * MIB]]).toEqual([7, pattern, 0]);
  }
});

test('commitMachine throws IN_USE when the NBD server of the machine is another program’s, and changes nothing', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  await place.commitExactly(machine);
  const addr = { type: 'unix', data: { path: place.made.file('theirs') } };
  await machine.client.execute('nbd-server-start', { addr });
  await machine.io(0, 'write -P 4 2M 4k');
  const before = await machine.bitmaps();
  await expect(place.commit(machine)).rejects.toMatchObject({ code: 'IN_USE' });
  expect(await machine.bitmaps()).toEqual(before);
  await machine.expectClean();
  expect(place.scratch()).toEqual([]);
  await machine.client.execute('nbd-server-stop');
  const { notices, readBytes } = await place.commitExactly(machine);
  expect(notices).toEqual([]);
  expect(readBytes[0]).toBeLessThanOrEqual(2 * SMALL);
});
