import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, linkSync, renameSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { InPlaceFile } from '../../../block/index.ts';
import { ImgstoreError } from '../../../errors/index.ts';
import { type CommitRequest, checkoutVersion, commitVersion, describeDisk } from '../../../store/index.ts';
import { startTracking } from '../../../store/track/start.ts';
import { ClusterCounter } from '../../../store/version/count.ts';
import { readVersion } from '../../../store/version/version.ts';
import { createOverlay, noise, qemuBytes, qemuCheck, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { killedAt } from '../killed-update.ts';
import { newStore, SMALL, type TestStore } from '../new-store.ts';
import { qemuHolds } from '../qemu-holds.ts';

const MIB = 2 ** 20;

interface Place extends TestStore {
  readonly image: string;
  /** Commits the image, and returns how much of it was read, what was said, and the id of its map. */
  readonly commit: (request?: Partial<CommitRequest>) => Promise<{
    readonly readBytes: number;
    readonly notices: readonly string[];
    readonly map: string;
    readonly commit: string;
  }>;
}

/** An image of 4 MiB with 1 MiB of data, in a store that keeps track of it. */
async function place(...create: readonly string[]): Promise<Place> {
  const made = await newStore();
  const image = made.file('vm.qcow2');
  await qemuImg('create', '-q', '-f', 'qcow2', ...create, image, '4M');
  await qemuIo(image, 'write -P 7 0 1M');
  const commit: Place['commit'] = async (request = {}) => {
    const notices: string[] = [];
    const monitor = { onNotice: (notice: string) => notices.push(notice) };
    const disks = [{ name: 'vda', path: image }];
    const result = await commitVersion(made.store, { disks, branch: 'vm', ...request }, monitor);
    const [disk] = result.disks;
    // It is not counted but reckoned.
    const [stored] = readVersion(made.store.objects, result.commit).disks;
    expect(disk!.clusters).toBe(await new ClusterCounter(made.store.objects.readTree).count(stored!));
    return { readBytes: disk!.readBytes, notices, map: String(disk!.map.id), commit: result.commit };
  };
  return { ...made, image, commit };
}

/** The map of the same disk in a store that reads all of it. */
async function fullMap(image: string): Promise<string> {
  const other = await newStore();
  const raw = other.file('x.raw');
  await qemuImg('convert', '-U', '-O', 'raw', image, raw);
  const { disks } = await commitVersion(other.store, { disks: [{ name: 'vda', path: raw }], branch: 'x' });
  return String(disks[0]!.map.id);
}

async function bitmaps(image: string) {
  const { qcow2 } = await describeDisk(image);
  return qcow2?.bitmapList ?? [];
}

/** There may be leaks: whose the clusters of a bitmap are that somebody else has let go of is not known. */
async function expectWhole(image: string): Promise<void> {
  const text = await qemuImg('check', '--output=json', image).catch(
    (error: { stdout: string }) => error.stdout,
  );
  expect(JSON.parse(text)).not.toHaveProperty('corruptions');
}

/** qemu-io that has written and is then killed. */
async function killedWriter(image: string, command: string): Promise<void> {
  const child = spawn('qemu-io', ['-f', 'qcow2', image], { stdio: ['pipe', 'pipe', 'ignore'] });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  child.stdin.write(`${command}\nflush\nsleep 1\n`);
  let said = '';
  for await (const chunk of child.stdout) {
    said += String(chunk);
    if (said.includes('ops')) break;
  }
  await sleep(200);
  child.kill('SIGKILL');
  await once(child, 'exit');
}

test('commit --track reads only what QEMU has written since, version after version', async () => {
  const made = await place();
  await made.commit({ track: true });
  await qemuCheck(made.image);
  for (const [i, write] of [
    'write -P 1 2M 4k',
    'write -z 0 12k',
    'discard 512k 64k',
    'write -P 2 4092k 4k',
  ].entries()) {
    await qemuIo(made.image, write);
    const { readBytes, notices, map } = await made.commit();
    expect(notices, write).toEqual([]);
    // The last cluster is read each time.
    expect(readBytes, write).toBeLessThanOrEqual(64 * 1024 + SMALL);
    expect(map, write).toBe(await fullMap(made.image));
    await qemuCheck(made.image);
    const [bitmap, ...more] = await bitmaps(made.image);
    expect(more).toEqual([]);
    expect(bitmap, `${i}`).toMatchObject({
      name: expect.stringMatching(/^imgstore-[0-9a-f]{64}-[0-9a-f]{32}-vda$/),
      granularity: SMALL,
    });
  }
});

test('commit of a tracked image that has not changed reads nothing, and leaves it as it is', async () => {
  const made = await place();
  await qemuIo(made.image, 'write -P 1 4092k 4k');
  const { commit } = await made.commit({ track: true });
  await sleep(30);
  const [before] = await bitmaps(made.image);
  expect(await made.commit()).toMatchObject({ readBytes: 0, commit, notices: [] });
  utimesSync(made.image, 1000, 1000);
  expect(await made.commit()).toMatchObject({ readBytes: SMALL, commit, notices: [] });
  expect(await bitmaps(made.image)).toEqual([before]);
});

const step = fc.oneof(
  fc.tuple(
    fc.constantFrom('write -P 3', 'write -P 4', 'write -z', 'write -z -u', 'discard'),
    fc.nat(1000),
    fc.integer({ min: 1, max: 40 }),
  ),
);

test.each([
  ['clusters of 64 KiB', []],
  ['clusters of 512 bytes', ['-o', 'cluster_size=512']],
  ['extended L2', ['-o', 'extended_l2=on']],
  ['lazy refcounts', ['-o', 'lazy_refcounts=on']],
  ['refcounts of a bit', ['-o', 'refcount_bits=1']],
] as const)('commit of a tracked image holds what QEMU wrote, with %s', async (_, options) => {
  const made = await place(...options);
  await made.commit({ track: true });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
      await qemuIo(
        made.image,
        ...steps.map(([what, at, length]) => `${what} ${at * 4}k ${Math.min(length, 1024 - at) * 4}k`),
      );
      const { map, notices } = await made.commit();
      expect(notices).toEqual([]);
      expect(map).toBe(await fullMap(made.image));
      await qemuCheck(made.image);
    }),
    { numRuns: 8 },
  );
});

test('commit keeps bitmaps of others in an image that it keeps track of', async () => {
  const made = await place();
  await qemuImg('bitmap', '--add', '-g', '64k', made.image, 'backup');
  await qemuIo(made.image, 'write -P 1 0 4k');
  await made.commit({ track: true });
  await qemuIo(made.image, 'write -P 1 3M 4k');
  await made.commit();
  const found = await bitmaps(made.image);
  expect(found.map(({ name }) => name.slice(0, 8))).toEqual(['backup', 'imgstore']);
  expect(found[0]).toMatchObject({ granularity: 65536, valid: true });
  await qemuCheck(made.image);
});

test('commit reads all of an image whose QEMU was killed, and keeps track of it again', async () => {
  const made = await place();
  await made.commit({ track: true });
  await killedWriter(made.image, 'write -P 9 2M 64k');
  const { notices, map, readBytes } = await made.commit();
  expect(notices).toEqual([
    `${made.image}: its bitmap is not trusted, so all of it is read: it was not saved when the image was last written`,
  ]);
  expect(map).toBe(await fullMap(made.image));
  expect(readBytes).toBeGreaterThan(MIB);
  await qemuIo(made.image, 'write -P 8 3M 4k');
  expect((await made.commit()).readBytes).toBeLessThanOrEqual(2 * 65536);
  await qemuCheck(made.image);
});

test.each<[string, RegExp, (made: Place) => Promise<unknown>]>([
  [
    'the branch has gone on',
    /the branch has gone on since$/,
    async (made) => {
      const raw = made.file('other.raw');
      writeFileSync(raw, noise(4 * MIB, 3));
      await commitVersion(made.store, { disks: [{ name: 'vda', path: raw }], branch: 'vm' });
    },
  ],
  [
    'the disk was smaller for a while',
    /the disk was made smaller meanwhile$/,
    async ({ image }) => {
      await qemuImg('resize', '-q', '--shrink', image, '512k');
      await qemuImg('resize', '-q', image, '4M');
    },
  ],
  [
    'the disk was smaller for a while, and its end was written to since',
    /the disk was made smaller meanwhile$/,
    async ({ image }) => {
      await qemuImg('resize', '-q', '--shrink', image, '512k');
      await qemuImg('resize', '-q', image, '4M');
      await qemuIo(image, 'write -P 9 1020k 4k', 'write -P 9 4092k 4k');
    },
  ],
  [
    'the disk is smaller',
    /the disk was made smaller meanwhile$/,
    ({ image }) => qemuImg('resize', '-q', '--shrink', image, '512k'),
  ],
  [
    'the bitmap was switched off',
    /it is switched off, so later writes are missing in it$/,
    async ({ image }) => {
      const [bitmap] = await bitmaps(image);
      await qemuImg('bitmap', '--disable', image, bitmap!.name);
      await qemuIo(image, 'write -P 5 1M 64k');
    },
  ],
  [
    'somebody who knows no bitmaps wrote',
    /the image was written by a program that does not keep bitmaps up/,
    async ({ image }) => {
      const file = await InPlaceFile.open(image);
      file.write(88, Buffer.alloc(8));
      await file.close();
    },
  ],
  [
    'the name was forged',
    /it is of another store or another image, or the backing file has changed$/,
    async ({ image }) => {
      const [bitmap] = await bitmaps(image);
      await qemuImg('bitmap', '--remove', image, bitmap!.name);
      await qemuImg('bitmap', '--add', image, bitmap!.name.replace(/-[0-9a-f]{32}-/, `-${'0'.repeat(32)}-`));
    },
  ],
])('commit does not trust a bitmap when %s', async (_, reason, change) => {
  const made = await place();
  await made.commit({ track: true });
  await qemuIo(made.image, 'write -P 6 100k 4k');
  await change(made);
  const { notices, map } = await made.commit();
  expect(notices).toHaveLength(1);
  expect(notices[0]).toMatch(reason);
  expect(map).toBe(await fullMap(made.image));
  await qemuIo(made.image, 'write -P 1 200k 4k');
  const again = await made.commit();
  expect(again.notices).toEqual([]);
  expect(again.map).toBe(await fullMap(made.image));
  await expectWhole(made.image);
});

test('commit reads what a tracked disk has grown by', async () => {
  const made = await place();
  await made.commit({ track: true });
  await qemuImg('resize', '-q', made.image, '6M');
  await qemuIo(made.image, 'write -P 1 5M 8k');
  const { notices, map, readBytes } = await made.commit();
  expect(notices).toEqual([]);
  expect(map).toBe(await fullMap(made.image));
  expect(readBytes).toBeLessThan(MIB);
});

test('an overlay is kept track of as long as the files below it stay as they are', async () => {
  const made = await place();
  const overlay = made.file('top.qcow2');
  await createOverlay(overlay, 'vm.qcow2');
  await qemuIo(overlay, 'write -P 1 2M 64k');
  const disks = [{ name: 'vda', path: overlay }];
  await made.commit({ disks, track: true });
  await qemuIo(overlay, 'write -P 2 2M 4k');
  const next = await made.commit({ disks });
  expect(next.notices).toEqual([]);
  expect(next.map).toBe(await fullMap(overlay));
  expect(next.readBytes).toBeLessThanOrEqual(65536 + SMALL);
  await sleep(30);
  await qemuIo(made.image, 'write -P 9 3M 4k');
  const changed = await made.commit({ disks });
  expect(changed.notices[0]).toMatch(
    /it is of another store or another image, or the backing file has changed$/,
  );
  expect(changed.map).toBe(await fullMap(overlay));
});

test('checkout --track writes an image whose commit reads only what was written', async () => {
  const made = await place();
  await made.commit();
  for (const backing of ['none', 'chain'] as const) {
    await qemuIo(made.image, 'write -P 5 8k 4k');
    await made.commit();
    const output = made.file(`${backing}.qcow2`);
    await checkoutVersion(made.store, { revision: 'vm', output, track: true, backing });
    await qemuCheck(output);
    expect((await qemuBytes(output)).equals(await qemuBytes(made.image))).toBe(true);
    const disks = [{ name: 'vda', path: output }];
    const branch = `copy-${backing}`;
    expect(await made.commit({ disks, branch })).toMatchObject({ readBytes: 0, notices: [] });
    await qemuIo(output, 'write -P 6 20k 4k');
    const next = await made.commit({ disks, branch });
    expect(next).toMatchObject({ notices: [], map: await fullMap(output) });
    expect(next.readBytes).toBeLessThanOrEqual(65536 + SMALL);
  }
  const raw = { revision: 'vm', output: made.file('x.raw'), track: true };
  await expect(checkoutVersion(made.store, raw)).rejects.toMatchObject({ code: 'USAGE' });
  const skipping = { revision: 'vm', output: made.file('x.qcow2'), track: true, skipDamaged: true };
  await expect(checkoutVersion(made.store, skipping)).rejects.toMatchObject({ code: 'USAGE' });
});

test('checkout --track writes the image, and says why, where its bitmap cannot begin', async () => {
  const made = await place();
  const { map } = await made.commit();
  const full = new ImgstoreError('IO', 'no space left on the device', { system: 'ENOSPC' });
  vi.spyOn(InPlaceFile, 'open').mockRejectedValueOnce(full);
  const notices: string[] = [];
  const output = made.file('x.qcow2');
  const request = { revision: 'vm', output, track: true };
  await checkoutVersion(made.store, request, { onNotice: (notice) => notices.push(notice) });
  expect(notices).toEqual([`${output}: the next commit will read all of it: no space left on the device`]);
  expect(await fullMap(output)).toBe(map);
});

test('copies of a tracked image are each kept track of', async () => {
  const made = await place();
  await made.commit({ track: true });
  const copy = made.file('copy.qcow2');
  copyFileSync(made.image, copy);
  await qemuIo(copy, 'write -P 1 1M 4k');
  await qemuIo(made.image, 'write -P 2 2M 4k');
  const disks = [{ name: 'vda', path: copy }];
  const ofCopy = await made.commit({ disks, branch: 'copy' });
  expect(ofCopy).toMatchObject({ notices: [], map: await fullMap(copy) });
  const own = await made.commit();
  expect(own).toMatchObject({ notices: [], map: await fullMap(made.image) });
  renameSync(made.image, made.file('moved.qcow2'));
  await qemuIo(made.file('moved.qcow2'), 'write -P 3 3M 4k');
  const moved = await made.commit({ disks: [{ name: 'vda', path: made.file('moved.qcow2') }] });
  expect(moved).toMatchObject({ notices: [], map: await fullMap(made.file('moved.qcow2')) });
});

test('commit does not trust a bitmap that was copied into an image of a snapshot', async () => {
  const made = await place();
  await qemuImg('snapshot', '-c', 'before', made.image);
  await qemuIo(made.image, 'write -P 1 2M 64k');
  await made.commit({ track: true });
  const copy = made.file('copy.qcow2');
  await qemuImg('convert', '--bitmaps', '-l', 'before', '-O', 'qcow2', made.image, copy);
  const disks = [{ name: 'vda', path: copy }];
  const { notices, map } = await made.commit({ disks, branch: 'copy' });
  expect(notices).toHaveLength(1);
  expect(notices[0]).toMatch(/it is of another store or another image, or the backing file has changed$/);
  expect(map).toBe(await fullMap(copy));
  const original = await made.commit();
  expect(original).toMatchObject({ notices: expect.any(Array), map: await fullMap(made.image) });
  expect(original.notices.filter((notice) => notice.includes('not trusted'))).toEqual([]);
});

test('commit of a tracked image that may only be read stores it, and says that the next one will read all of it', async () => {
  const made = await place();
  await made.commit({ track: true });
  await qemuIo(made.image, 'write -P 1 2M 4k');
  const told = { notices: [expect.stringMatching(/the next commit will read all of it: /)] };
  const readOnly = new ImgstoreError('IO', 'read-only file system', { system: 'EROFS' });
  vi.spyOn(InPlaceFile, 'open').mockRejectedValueOnce(readOnly);
  expect(await made.commit()).toMatchObject({ ...told, map: await fullMap(made.image) });
  await made.commit();
  await qemuIo(made.image, 'write -P 2 3M 4k');
  await qemuHolds(made.image, '-r');
  expect(await made.commit()).toMatchObject({ ...told, map: await fullMap(made.image) });
});

test('commit of a tracked image as a raw disk leaves its bitmap as it is', async () => {
  const made = await place();
  await made.commit({ track: true });
  const before = await bitmaps(made.image);
  const asRaw = await made.commit({ format: 'raw', branch: 'raw' });
  expect(asRaw.notices).toEqual([]);
  const { notices } = await made.commit({ format: 'raw', branch: 'raw', track: true });
  expect(notices).toEqual([expect.stringMatching(/only a qcow2 that is read as one can be kept track of$/)]);
  expect(await bitmaps(made.image)).toEqual(before);
  await qemuIo(made.image, 'write -P 1 2M 4k');
  expect(await made.commit()).toMatchObject({ notices: [], map: await fullMap(made.image) });
});

test('commit of a tracked image that a QEMU writes to is refused', async () => {
  const made = await place();
  await made.commit({ track: true });
  await qemuHolds(made.image);
  await expect(made.commit()).rejects.toMatchObject({ code: 'IN_USE' });
});

test.each([['version 0.10', ['-o', 'compat=0.10'], /is of version 0\.10, which has no bitmaps/]] as const)(
  'commit --track says why it cannot keep track of an image of %s',
  async (_, options, reason) => {
    const made = await place(...options);
    const { notices } = await made.commit({ track: true });
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatch(reason);
  },
);

test('a tracked image is whole and its next commit is right, wherever the beginning of a bitmap is killed', async () => {
  const made = await place();
  await qemuImg('bitmap', '--add', made.image, 'backup');
  await made.commit({ track: true });
  let kills = 0;
  for (let step = 1, finished = false; !finished; step++) {
    await qemuIo(made.image, `write -P ${step % 200} ${(step * 4) % 2048}k 4k`);
    finished = await killedAt(step, () => made.commit());
    kills += finished ? 0 : 1;
    await expectWhole(made.image);
    await qemuIo(made.image, `write -P ${(step * 7) % 200} ${(step * 8) % 1024}k 8k`);
    const next = await made.commit();
    expect(next.map, `killed at ${step}`).toBe(await fullMap(made.image));
  }
  expect(kills).toBeGreaterThan(6);
  expect((await bitmaps(made.image)).map(({ name }) => name.slice(0, 8))).toEqual(['backup', 'imgstore']);
});

test('startTracking refuses an image that has changed since it was read', async () => {
  const made = await place();
  const { openDisk } = await import('../../../store/commit/open-disk.ts');
  const opened = await openDisk(made.image, {});
  await sleep(30);
  await qemuIo(made.image, 'write -P 1 0 4k');
  const file = await InPlaceFile.open(made.image);
  const start = {
    path: made.image,
    file,
    opened,
    commit: '0'.repeat(64),
    disk: 'vda',
    clusters: 1,
    allowBacking: [],
  };
  await expect(startTracking(made.store, start)).rejects.toMatchObject({ code: 'IN_USE' });
  await opened.source.close();
  expect(await bitmaps(made.image)).toEqual([]);
});

test('commit with --track, and of what is tracked, tells when two disks are one file', async () => {
  const made = await place();
  const [soft, hard] = [made.file('soft.qcow2'), made.file('hard.qcow2')];
  symlinkSync(made.image, soft);
  linkSync(made.image, hard);
  const disks = (path: string) => [
    { name: 'vda', path: made.image },
    { name: 'vdb', path },
  ];
  const refuses = async (track: boolean) => {
    for (const path of [made.image, soft, hard])
      await expect(made.commit({ disks: disks(path), track })).rejects.toMatchObject({
        code: 'USAGE',
        message: expect.stringMatching(path === made.image ? /is named twice/ : /is the same file as .*vm/),
      });
  };
  await refuses(true);
  await made.commit({ track: true });
  await refuses(false);
  // The locks are let go of.
  expect(await made.commit()).toMatchObject({ notices: [], readBytes: 0 });
  const copy = made.file('copy.qcow2');
  copyFileSync(made.image, copy);
  await made.commit({ disks: disks(copy) });
});
