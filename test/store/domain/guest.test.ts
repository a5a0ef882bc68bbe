import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { qemuImg } from '../../qcow2/qemu.ts';
import { countingDisk, expectMoments, untilCounting, withCount } from '../live/counting.ts';
import { give, Libvirt } from './libvirt.ts';
import { DomainPlace, MIB } from './place.ts';

let libvirt: Libvirt;
beforeAll(async () => {
  libvirt = await Libvirt.start();
});
afterAll(() => libvirt.stop());

/** What the guest writes lies in less than a mebibyte on each disk. */
const MOST_INCREMENT = 2 * MIB;

/** Two disks, of which the first boots the guest that counts. */
async function countingDomain() {
  const place = await DomainPlace.create(libvirt, 2);
  for (const [i, image] of place.images.entries()) {
    const raw = place.made.file(`${i}.raw`);
    writeFileSync(raw, countingDisk(i));
    await qemuImg('convert', '-O', 'qcow2', raw, image);
    give(image);
  }
  await place.define();
  await place.start({ boot: true });
  return { place, commit: async () => withCount(place, await place.commit()) };
}

test('commitDomain makes 20 versions in a row of disks that a guest writes to, each of one moment', async () => {
  const { place, commit } = await countingDomain();
  await untilCounting(commit);
  const last = await expectMoments(commit, 20, 0, MOST_INCREMENT);
  await place.expectClean();
  expect(await place.virsh('domstate')).toMatch(/^running/);
  // It has not stood still meanwhile.
  expect(last).toBeGreaterThan(20);
});

test('commitDomain makes versions of one moment after kills of QEMU, while the guest writes', async () => {
  const { place, commit } = await countingDomain();
  let last = 0;
  for (let round = 0; round < 2; round++) {
    await untilCounting(commit);
    last = await expectMoments(commit, 2, last);
    await place.kill();
    await place.start({ boot: true });
  }
});
