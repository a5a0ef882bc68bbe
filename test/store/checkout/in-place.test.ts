import { readFile, stat, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { checkoutInPlace, checkoutVersion, commitVersion } from '../../../store/index.ts';
import { Random } from '../../qcow2/differential/random.ts';
import { noise, qemuBytes, qemuCheck, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { commitBytes, newStore, SMALL } from '../new-store.ts';

/** A disk as a qcow2 shows it: whole sectors. */
function sectors(disk: Buffer): Buffer {
  return Buffer.concat([disk, Buffer.alloc(-disk.length & 511)]);
}

const VERSION = diskOf([1, 0, 2, 3, 0, 4, 5]);

describe('a raw file', () => {
  test.each<[string, Buffer]>([
    ['holds the version already', VERSION],
    ['holds other data', diskOf([1, 2, 2, 0, 0, 4, 6])],
    ['is all zeros', Buffer.alloc(VERSION.length)],
    ['is empty', Buffer.alloc(0)],
    ['is shorter', VERSION.subarray(0, 9000)],
    ['is longer', Buffer.concat([VERSION, noise(9000, 7)])],
  ])('checkoutInPlace makes one the version that %s', async (_, before) => {
    const made = await newStore();
    await commitBytes(made, 'web', VERSION);
    const path = made.file('target.raw');
    await writeFile(path, before);
    const { ino } = await stat(path);
    const result = await checkoutInPlace(made.store, { revision: 'web', output: path });
    expect((await readFile(path)).equals(VERSION)).toBe(true);
    expect((await stat(path)).ino).toBe(ino);
    expect(result).toMatchObject({ file: path, format: 'raw', virtualSize: VERSION.length, backing: null });
  });

  test('checkoutInPlace makes one end where the version ends, within a cluster', async () => {
    const made = await newStore();
    const disk = diskOf([1, 0, 2], SMALL, 1001);
    await commitBytes(made, 'web', disk);
    const path = made.file('target.raw');
    await writeFile(path, noise(5 * SMALL, 9));
    await checkoutInPlace(made.store, { revision: 'web', output: path });
    expect((await readFile(path)).equals(disk)).toBe(true);
  });

  test('checkoutInPlace counts what differs, what is written and what becomes zeros, and gives room back', async () => {
    const made = await newStore(65536);
    const disk = diskOf([1, 2, 3, 0, 5], 65536);
    await commitBytes(made, 'web', disk);
    const path = made.file('target.raw');
    const before = diskOf([1, 2, 3, 4, 5], 65536);
    // Of one cluster a byte differs, so that a block of it is written.
    before[65536 + 5000]! ^= 1;
    await writeFile(path, before);
    const { blocks } = await stat(path);
    const result = await checkoutInPlace(made.store, { revision: 'web', output: path });
    expect(result).toMatchObject({
      readBytes: disk.length,
      changedBytes: 2 * 65536,
      writtenBytes: 4096,
      zeroedBytes: 65536,
    });
    expect((await stat(path)).blocks).toBe(blocks - 128);
    expect((await readFile(path)).equals(disk)).toBe(true);
  });

  test('checkoutInPlace writes nothing to one that holds the version, and does not read what is known', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', VERSION);
    const path = made.file('target.raw');
    await checkoutVersion(made.store, { revision: 'web', output: path });
    const { mtimeNs } = await stat(path, { bigint: true });
    const result = await checkoutInPlace(made.store, { revision: 'web', output: path });
    expect(result).toMatchObject({ readBytes: 0, changedBytes: 0, writtenBytes: 0, zeroedBytes: 0 });
    expect((await stat(path, { bigint: true })).mtimeNs).toBe(mtimeNs);
  });

  test('checkoutInPlace remembers what it holds, so that a commit reads nothing', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', VERSION);
    const path = made.file('target.raw');
    await writeFile(path, noise(VERSION.length, 3));
    await checkoutInPlace(made.store, { revision: 'web', output: path });
    const again = await commitVersion(made.store, { disks: [{ name: 'vda', path }], branch: 'web' });
    expect(again).toMatchObject({ unchanged: true, disks: [{ readBytes: 0 }] });
  });

  test('checkoutInPlace takes the way from a version that is known by the maps of both', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', VERSION);
    const other = diskOf([1, 2, 0, 3, 0, 4, 5, 6, 7]);
    await commitBytes(made, 'web', other);
    const path = made.file('target.raw');
    await checkoutVersion(made.store, { revision: 'web', output: path });
    const back = await checkoutInPlace(made.store, { revision: 'web~1', output: path });
    expect(back).toMatchObject({ readBytes: 0, changedBytes: 2 * SMALL });
    expect((await readFile(path)).equals(VERSION)).toBe(true);
    await checkoutInPlace(made.store, { revision: 'web', output: path });
    expect((await readFile(path)).equals(other)).toBe(true);
  });
});

/** Options of `qemu-img create`. */
const FORMS: readonly (readonly [name: string, options: string])[] = [
  ['with clusters as large as the store has', 'cluster_size=4096'],
  ['with clusters of 512 bytes', 'cluster_size=512'],
  ['with clusters of 64 KiB', 'cluster_size=65536'],
  ['with subclusters', 'extended_l2=on,cluster_size=16384'],
  ['of version 2', 'compat=0.10,cluster_size=16384'],
  ['with refcounts of one bit', 'refcount_bits=1,cluster_size=4096'],
  ['with refcounts of 64 bits', 'refcount_bits=64,cluster_size=512'],
];

describe.each(FORMS)('a qcow2 %s', (_, options) => {
  const refcountsOfOneBit = options.includes('refcount_bits=1');

  /** Writes noise and zeros to places by chance. */
  async function scribble(image: string, size: number, random: Random): Promise<void> {
    const commands = Array.from({ length: 12 }, () => {
      const length = 512 * (1 + random.below(60));
      const at = 512 * random.below((size - length) / 512);
      return random.pick([
        `write -P ${1 + random.below(255)} ${at} ${length}`,
        `write -P ${1 + random.below(255)} ${at} ${length}`,
        `write -z ${at} ${length}`,
        `discard ${at} ${length}`,
      ]);
    });
    await qemuIo(image, ...commands);
  }

  /** A cluster that is mostly noise, and some that are zeros. */
  function diskByChance(size: number, random: Random): Buffer {
    const disk = noise(size, random.below(1000));
    for (let i = 0; i < 25; i++) {
      const at = 4096 * random.below(Math.ceil(size / 4096));
      disk.subarray(at, at + 4096 * random.below(9)).fill(0);
    }
    return disk;
  }

  test.each([1, 2, 3])('checkoutInPlace makes one the version, whatever it holds (%i)', async (seed) => {
    const random = new Random(seed);
    const made = await newStore();
    const cut = random.pick([0, 0, 512, 777]);
    const disk = diskByChance(2 ** 20 - cut, random);
    const size = sectors(disk).length;
    await commitBytes(made, 'web', disk);
    const [base, image] = [made.file('base.raw'), made.file('target.qcow2')];
    await writeFile(base, diskByChance(size, random));
    const on = seed === 1 ? [] : ['-b', base, '-F', 'raw'];
    await qemuImg('create', '-f', 'qcow2', '-o', options, ...on, image, String(size));
    await scribble(image, size, random);
    let snapshot: Buffer | undefined;
    if (!refcountsOfOneBit) {
      await qemuImg('snapshot', '-c', 'before', image);
      snapshot = await qemuBytes(image);
      await scribble(image, size, random);
    }
    const result = await checkoutInPlace(made.store, { revision: 'web', output: image });
    expect(result.format).toBe('qcow2');
    await qemuCheck(image);
    expect((await qemuBytes(image)).equals(sectors(disk)), 'the disk').toBe(true);
    if (snapshot === undefined) return;
    await qemuImg('snapshot', '-a', 'before', image);
    expect((await qemuBytes(image)).equals(snapshot), 'the snapshot').toBe(true);
    await qemuImg('snapshot', '-d', 'before', image);
    await qemuCheck(image);
    await checkoutInPlace(made.store, { revision: 'web', output: image });
    await qemuCheck(image);
    expect((await qemuBytes(image)).equals(sectors(disk)), 'the disk again').toBe(true);
  });

  test.skipIf(refcountsOfOneBit)(
    'checkoutInPlace replaces compressed clusters and gives their room back',
    async () => {
      const made = await newStore();
      const random = new Random(5);
      const disk = diskByChance(2 ** 19, random);
      await commitBytes(made, 'web', disk);
      const [raw, image] = [made.file('target.raw'), made.file('target.qcow2')];
      const before = Buffer.from(disk);
      before.fill('a text that can be compressed, ', 2 ** 17);
      await writeFile(raw, before);
      await qemuImg('convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', options, raw, image);
      await checkoutInPlace(made.store, { revision: 'web', output: image });
      await qemuCheck(image);
      expect((await qemuBytes(image)).equals(disk)).toBe(true);
    },
  );
});

test('checkoutInPlace makes an image larger than its refcounts were made for', async () => {
  const made = await newStore();
  const disk = noise(12 * 2 ** 20, 4);
  await commitBytes(made, 'web', disk);
  const image = made.file('target.qcow2');
  // One cluster of refcount table leads to 8 MiB of file.
  await qemuImg('create', '-f', 'qcow2', '-o', 'cluster_size=512', image, String(disk.length));
  const result = await checkoutInPlace(made.store, { revision: 'web', output: image });
  expect(result.writtenBytes).toBe(disk.length);
  await qemuCheck(image);
  expect((await qemuBytes(image)).equals(disk)).toBe(true);
});

test('checkoutInPlace takes room that is free in an image before it makes the file longer', async () => {
  const made = await newStore(65536);
  const disk = noise(2 ** 20, 4);
  await commitBytes(made, 'web', disk);
  const image = made.file('target.qcow2');
  await qemuImg('create', '-f', 'qcow2', image, '1M');
  await qemuIo(image, 'write -P 1 0 1M');
  await qemuImg('snapshot', '-c', 'old', image);
  await qemuIo(image, 'write -P 2 0 1M');
  const { size } = await stat(image);
  await qemuImg('snapshot', '-d', 'old', image);
  await qemuIo(image, 'discard 0 1M');
  await checkoutInPlace(made.store, { revision: 'web', output: image });
  await qemuCheck(image);
  expect((await qemuBytes(image)).equals(disk)).toBe(true);
  expect((await stat(image)).size).toBe(size);
});

test('checkoutInPlace keeps an overlay as one, and writes only what its backing file does not have', async () => {
  const made = await newStore(65536);
  await commitBytes(made, 'web', diskOf([1, 2, 3, 4], 65536));
  await commitBytes(made, 'web', diskOf([1, 5, 0, 4], 65536));
  const base = made.file('base.qcow2');
  await checkoutVersion(made.store, { revision: 'web~1', output: base });
  const before = await readFile(base);
  const image = made.file('top.qcow2');
  await qemuImg('create', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', image);
  const result = await checkoutInPlace(made.store, { revision: 'web', output: image });
  expect(result).toMatchObject({ backing: 'base.qcow2', writtenBytes: 65536, zeroedBytes: 65536 });
  await qemuCheck(image);
  expect((await qemuBytes(image)).equals(diskOf([1, 5, 0, 4], 65536))).toBe(true);
  expect((await readFile(base)).equals(before)).toBe(true);
});
