import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { noise, qemuImg } from '../../qcow2/qemu.ts';
import { bootSector, countedTo } from './guest.ts';
import type { Machine } from './machine.ts';
import { LivePlace, MIB } from './place.ts';

/** What the guest writes lies in less than a mebibyte, and each disk has a last cluster. */
const MOST_INCREMENT = MIB;

/** Two disks of 4 MiB with 2 MiB of noise, of which the first boots the guest that counts. */
async function countingPlace(): Promise<LivePlace> {
  const place = await LivePlace.create(['a', 'b']);
  for (const [i, image] of place.images.entries()) {
    const bytes = Buffer.alloc(4 * MIB);
    noise(2 * MIB, i + 1).copy(bytes, 2 * MIB);
    if (i === 0) bootSector().copy(bytes);
    writeFileSync(`${image}.raw`, bytes);
    await qemuImg('convert', '-O', 'qcow2', `${image}.raw`, image);
  }
  return place;
}

/** Commits, and fails unless both disks are of one moment. Returns how far the guest was. */
async function commitCounted(place: LivePlace, machine: Pick<Machine, 'qmp'>) {
  const outcome = await place.commit(machine, { branch: 'counting' });
  const [first, second] = [await place.stored(outcome.commit, 0), await place.stored(outcome.commit, 1)];
  return { ...outcome, count: countedTo(first, second) };
}

/** Waits until the guest has written. */
async function counting(place: LivePlace, machine: Machine): Promise<void> {
  for (let count = 0; count === 0; { count } = await commitCounted(place, machine)) await sleep(200);
}

test('commitMachine makes 20 versions in a row of disks that a guest writes to, each of one moment', async () => {
  const place = await countingPlace();
  const machine = await place.start({ boot: true });
  await counting(place, machine);
  let before = 0;
  for (let i = 0; i < 20; i++) {
    const { count, readBytes, notices } = await commitCounted(place, machine);
    expect(notices).toEqual([]);
    expect(readBytes[0]! + readBytes[1]!).toBeLessThan(MOST_INCREMENT);
    expect(count).toBeGreaterThanOrEqual(before);
    before = count;
  }
  await machine.expectClean();
  expect(await machine.client.execute('query-status')).toMatchObject({ status: 'running' });
  // It has not stood still meanwhile.
  expect(before).toBeGreaterThan(20);
});

test('commitMachine makes versions of one moment after kills of QEMU, while the guest writes', async () => {
  const place = await countingPlace();
  let before = 0;
  for (let round = 0; round < 2; round++) {
    const machine = await place.start({ boot: true });
    await counting(place, machine);
    for (let i = 0; i < 2; i++) {
      const { count, notices } = await commitCounted(place, machine);
      expect(notices).toEqual([]);
      expect(count).toBeGreaterThanOrEqual(before);
      before = count;
    }
    await machine.kill();
  }
});

test('commitMachine refuses disks with threads of their own where QEMU would crash, and else makes versions of one moment', async () => {
  const place = await countingPlace();
  const threads = place.images.flatMap((image, i) => [
    ...['-object', `iothread,id=thread${i}`],
    ...['-drive', `file=${image},if=none,format=qcow2,id=virtio${i}`],
    ...['-device', `virtio-blk-pci,drive=virtio${i},iothread=thread${i}`],
  ]);
  const machine = await place.start({ boot: true, drives: [], more: threads });
  const { qemu } = (await machine.client.execute('query-version')) as {
    qemu: { major: number; minor: number };
  };
  if (qemu.major * 100 + qemu.minor < 802) {
    await expect(place.commit(machine)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await machine.expectClean();
    return;
  }
  await counting(place, machine);
  for (let i = 0; i < 3; i++) expect((await commitCounted(place, machine)).notices).toEqual([]);
  await machine.expectClean();
});

test('commitMachine takes disks without a thread of a machine that has some', async () => {
  const place = await LivePlace.create();
  const machine = await place.start({ more: ['-object', 'iothread,id=thread'] });
  await place.commitExactly(machine);
});
