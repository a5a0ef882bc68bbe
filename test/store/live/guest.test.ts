import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { qemuImg } from '../../qcow2/qemu.ts';
import { type CountedCommit, countingDisk, expectMoments, untilCounting, withCount } from './counting.ts';
import type { Machine } from './machine.ts';
import { LivePlace, MIB } from './place.ts';

/** What the guest writes lies in less than a mebibyte, and each disk has a last cluster. */
const MOST_INCREMENT = MIB;

/** Two disks, of which the first boots the guest that counts. */
async function countingPlace(): Promise<LivePlace> {
  const place = await LivePlace.create(['a', 'b']);
  for (const [i, image] of place.images.entries()) {
    writeFileSync(`${image}.raw`, countingDisk(i));
    await qemuImg('convert', '-O', 'qcow2', `${image}.raw`, image);
  }
  return place;
}

function countedCommit(place: LivePlace, machine: Machine): CountedCommit {
  return async () => withCount(place, await place.commit(machine, { branch: 'counting' }));
}

test('commitMachine makes 20 versions in a row of disks that a guest writes to, each of one moment', async () => {
  const place = await countingPlace();
  const machine = await place.start({ boot: true });
  const commit = countedCommit(place, machine);
  await untilCounting(commit);
  const last = await expectMoments(commit, 20, 0, MOST_INCREMENT);
  await machine.expectClean();
  expect(await machine.client.execute('query-status')).toMatchObject({ status: 'running' });
  // It has not stood still meanwhile.
  expect(last).toBeGreaterThan(20);
});

test('commitMachine makes versions of one moment after kills of QEMU, while the guest writes', async () => {
  const place = await countingPlace();
  let last = 0;
  for (let round = 0; round < 2; round++) {
    const machine = await place.start({ boot: true });
    const commit = countedCommit(place, machine);
    await untilCounting(commit);
    last = await expectMoments(commit, 2, last);
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
  const commit = countedCommit(place, machine);
  await untilCounting(commit);
  await expectMoments(commit, 3);
  await machine.expectClean();
});

test('commitMachine takes disks without a thread of a machine that has some', async () => {
  const place = await LivePlace.create();
  const machine = await place.start({ more: ['-object', 'iothread,id=thread'] });
  await place.commitExactly(machine);
});
