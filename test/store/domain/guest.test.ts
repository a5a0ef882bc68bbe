import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { noise, qemuImg } from '../../qcow2/qemu.ts';
import { bootSector, countedTo } from '../live/guest.ts';
import { give, Libvirt } from './libvirt.ts';
import { DomainPlace, MIB } from './place.ts';

let libvirt: Libvirt;
beforeAll(async () => {
  libvirt = await Libvirt.start();
});
afterAll(() => libvirt.stop());

/** What the guest writes lies in less than a mebibyte on each disk. */
const MOST_INCREMENT = 2 * MIB;

/** Two disks of 4 MiB with 2 MiB of noise, of which the first boots the guest that counts. */
async function countingDomain(): Promise<DomainPlace> {
  const place = await DomainPlace.create(libvirt, 2);
  for (const [i, image] of place.images.entries()) {
    const bytes = Buffer.alloc(4 * MIB);
    noise(2 * MIB, i + 1).copy(bytes, 2 * MIB);
    if (i === 0) bootSector().copy(bytes);
    const raw = place.made.file(`${i}.raw`);
    writeFileSync(raw, bytes);
    await qemuImg('convert', '-O', 'qcow2', raw, image);
    give(image);
  }
  await place.define();
  await place.start({ boot: true });
  return place;
}

/** Commits, and fails unless both disks are of one moment. Returns how far the guest was. */
async function commitCounted(place: DomainPlace) {
  const outcome = await place.commit();
  const [first, second] = [await place.stored(outcome.commit, 0), await place.stored(outcome.commit, 1)];
  return { ...outcome, count: countedTo(first, second) };
}

/** Waits until the guest has written. */
async function counting(place: DomainPlace): Promise<void> {
  for (let count = 0; count === 0; { count } = await commitCounted(place)) await sleep(200);
}

test('commitDomain makes 20 versions in a row of disks that a guest writes to, each of one moment', async () => {
  const place = await countingDomain();
  await counting(place);
  let before = 0;
  for (let i = 0; i < 20; i++) {
    const { count, readBytes, notices } = await commitCounted(place);
    expect(notices).toEqual([]);
    expect(readBytes[0]! + readBytes[1]!).toBeLessThan(MOST_INCREMENT);
    expect(count).toBeGreaterThanOrEqual(before);
    before = count;
  }
  await place.expectClean();
  expect(await place.virsh('domstate')).toMatch(/^running/);
  // It has not stood still meanwhile.
  expect(before).toBeGreaterThan(20);
});

test('commitDomain makes versions of one moment after kills of QEMU, while the guest writes', async () => {
  const place = await countingDomain();
  let before = 0;
  for (let round = 0; round < 2; round++) {
    await counting(place);
    for (let i = 0; i < 2; i++) {
      const { count, notices } = await commitCounted(place);
      expect(notices).toEqual([]);
      expect(count).toBeGreaterThanOrEqual(before);
      before = count;
    }
    await place.kill();
    await place.start({ boot: true });
  }
});
