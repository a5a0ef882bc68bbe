import { mkdirSync } from 'node:fs';
import { copyFile, readFile, truncate, writeFile } from 'node:fs/promises';
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import { expectFailure, isRoot, system } from '../acceptance/system.ts';
import { noise } from '../objects/noise.ts';
import { qemuBytes, qemuCheck, qemuImg } from '../qcow2/qemu.ts';
import { oneLine, Workplace } from './imgstore.ts';
import { CLUSTER, disk, sampleStores, writeDisk } from './sample.ts';
import { NUMBER } from './shapes.ts';

const sample = sampleStores();

test('checkout --in-place writes what differs and tells how much', async () => {
  const place = await sample();
  await writeDisk(place, 'target.raw', 1, undefined, 2);
  const args = ['checkout', 'web', '-o', 'target.raw', '--in-place'];
  expect(await place.json(...args)).toEqual({
    file: 'target.raw',
    format: 'raw',
    virtualSize: 3 * CLUSTER,
    readBytes: NUMBER,
    changedBytes: 2 * CLUSTER,
    writtenBytes: CLUSTER,
    zeroedBytes: CLUSTER,
    backing: null,
    seconds: NUMBER,
  });
  expect((await readFile(place.path('target.raw'))).equals(disk(1, 3, undefined))).toBe(true);
  expect(await place.ok(...args)).toMatch(
    /^target\.raw: raw, 192 KiB, in place: 0 bytes differed, 0 bytes written, 0 bytes made zeros in \d+\.\d s\n$/,
  );
});

test('checkout --in-place changes a qcow2, and takes the format and the disk that are named', async () => {
  const place = await sample();
  await qemuImg('create', '-f', 'qcow2', place.path('target.img'), String(CLUSTER));
  const refused = await place.run('checkout', 'db', '--disk', 'vdb', '-o', 'target.img', '--in-place');
  expectFailure(refused, 1, 'pass --format qcow2 or --format raw');
  const args = ['checkout', 'db', '--disk', 'vdb', '-o', 'target.img', '--format', 'qcow2', '--in-place'];
  expect(await place.json(...args)).toMatchObject({ format: 'qcow2', writtenBytes: CLUSTER });
  await qemuCheck(place.path('target.img'));
  expect((await qemuBytes(place.path('target.img'))).equals(disk(5))).toBe(true);
});

test.each([
  [['--in-place'], '--in-place: say with -o what to write into'],
  [['-o', 'a.raw', '--in-place', '--force'], "option '--in-place' cannot be used with option '-f, --force'"],
  [['-o', 'a.raw', '--in-place', '--backing', 'chain'], "cannot be used with option '--backing <what>'"],
  [['-o', 'a.raw', '--in-place', '--compress', 'zlib'], "cannot be used with option '--compress <type>'"],
  [['-o', 'a.raw', '--in-place', '--skip-damaged'], "cannot be used with option '--skip-damaged'"],
])('checkout %s is a wrong use', async (args, part) => {
  const place = await sample();
  expectFailure(await place.run('checkout', 'web', ...args), 2, part);
});

/** Runs imgstore, and returns the bytes that it has written to a file, by the calls of the system. */
async function countWrites(
  context: TestContext,
  place: Workplace,
  file: string,
  ...args: string[]
): Promise<number> {
  const calls = 'trace=write,pwrite64,writev,pwritev,pwritev2';
  const through = ['strace', '-f', '-qq', '-o', place.path('trace'), '-P', place.path(file), '-e', calls];
  const outcome = await place.start(args, { through }).finished.catch(() => undefined);
  if (outcome?.status !== 0) return context.skip('strace is not here, or may not trace');
  // A call during which another thread makes one comes in two lines.
  const call = /write\w*(?:\(| resumed>).* = (\d+)$/gm;
  const lines = (await readFile(place.path('trace'), 'utf8')).matchAll(call);
  return [...lines].reduce((sum, [, bytes]) => sum + Number(bytes), 0);
}

test('checkout --in-place of a version that differs in 1% writes at most 1.5% of the disk', async (context) => {
  const place = await Workplace.withStore();
  const size = 64 * 2 ** 20;
  const before = Buffer.concat(Array.from({ length: size / CLUSTER }, (_, i) => noise(CLUSTER, i)));
  await writeFile(place.path('web.raw'), before);
  await place.ok('commit', 'web.raw');
  const after = Buffer.from(before);
  // One per cent, in blocks of 4 KiB all over the disk.
  for (let at = 8192; at < size; at += 409_600) noise(4096, at).copy(after, at);
  await writeFile(place.path('target.raw'), after);
  await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', place.path('target.raw'), place.path('target.qcow2'));
  for (const file of ['target.raw', 'target.qcow2']) {
    const bytes = await countWrites(context, place, file, 'checkout', 'web', '-o', file, '--in-place');
    expect(bytes).toBeGreaterThan(0.009 * size);
    expect(bytes).toBeLessThanOrEqual(0.015 * size);
  }
  expect((await readFile(place.path('target.raw'))).equals(before)).toBe(true);
  await qemuCheck(place.path('target.qcow2'));
  expect((await qemuBytes(place.path('target.qcow2'))).equals(before)).toBe(true);
});

test('checkout --in-place that Ctrl-C stops says what to do, and a second run completes it', async () => {
  const place = await Workplace.withStore();
  const wanted = Buffer.concat(Array.from({ length: 1600 }, (_, i) => noise(CLUSTER, i)));
  await writeFile(place.path('web.raw'), wanted);
  await place.ok('commit', 'web.raw');
  await qemuImg('create', '-f', 'qcow2', place.path('target.qcow2'), String(wanted.length));
  const running = place.start(['checkout', 'web', '-o', 'target.qcow2', '--in-place']);
  const begun = async () => (await readFile(place.path('target.qcow2'))).length > 2 ** 21;
  while (running.child.exitCode === null && !(await begun()));
  running.child.kill('SIGINT');
  const outcome = await running.finished;
  // It may have been done just then.
  if (outcome.status !== 0) {
    expect(outcome).toMatchObject({ status: 130, stdout: '' });
    expect(oneLine(outcome)).toBe(
      'interrupted: target.qcow2 now holds a part of the version: run the same command again to complete it',
    );
  }
  await qemuImg('check', '-q', '-r', 'leaks', place.path('target.qcow2'));
  await place.ok('checkout', 'web', '-o', 'target.qcow2', '--in-place');
  await qemuCheck(place.path('target.qcow2'));
  await qemuImg('compare', place.path('target.qcow2'), place.path('web.raw'));
});

/** A loop device over a file; the test is skipped where none can be made. */
function loopDevice(context: TestContext, path: string): string {
  if (!isRoot) context.skip('only root can make loop devices');
  let device: string;
  try {
    device = system('losetup', '--find', '--show', path).trim();
  } catch (error) {
    return context.skip(`no loop devices here: ${String(error)}`);
  }
  onTestFinished(() => void system('losetup', '--detach', device));
  return device;
}

test('checkout --in-place writes to a block device, whose end it leaves alone', async (context) => {
  const place = await sample();
  const path = place.path('backing');
  const behind = noise(CLUSTER + 512, 9);
  await writeFile(path, Buffer.concat([disk(1, 7, 8), behind]));
  const device = loopDevice(context, path);
  const run = await place.start(['checkout', 'web', '-o', device, '--in-place', '--json']).finished;
  expect(run.status).toBe(0);
  expect(run.stderr).toBe(
    `${device}: the device is longer than the version: the ${behind.length} bytes behind its end are left as they are\n`,
  );
  expect(JSON.parse(run.stdout)).toMatchObject({
    format: 'raw',
    changedBytes: 2 * CLUSTER,
    zeroedBytes: CLUSTER,
  });
  expect((await readFile(device)).equals(Buffer.concat([disk(1, 3, undefined), behind]))).toBe(true);
  // What became zeros takes no room any more, as the loop device passes a discard on.
  expect(Number(system('stat', '-c', '%b', path)) * 512).toBeLessThanOrEqual(
    2 * CLUSTER + behind.length + 4096,
  );
});

test('checkout --in-place refuses a device that is too small, and the file of a loop device', async (context) => {
  const place = await sample();
  await writeFile(place.path('backing.raw'), disk(1, 2));
  const device = loopDevice(context, place.path('backing.raw'));
  const small = await place.run('checkout', 'web', '-o', device, '--in-place');
  expectFailure(
    small,
    1,
    `${device}: the device has ${2 * CLUSTER} bytes, the version ${3 * CLUSTER}: it does not fit`,
  );
  const file = await place.run('checkout', 'web', '-o', 'backing.raw', '--in-place');
  expectFailure(file, 1, `backing.raw: is the file of ${device}: detach that with losetup -d`);
});

test('checkout --in-place refuses a device that is mounted, and its file system is whole afterwards', async (context) => {
  const place = await Workplace.withStore();
  await writeFile(place.path('fs.raw'), '');
  await truncate(place.path('fs.raw'), 8 * 2 ** 20);
  system('mke2fs', '-q', '-t', 'ext4', place.path('fs.raw'));
  await place.ok('commit', 'fs.raw');
  await copyFile(place.path('fs.raw'), place.path('backing.raw'));
  const device = loopDevice(context, place.path('backing.raw'));
  mkdirSync(place.path('mnt'));
  try {
    system('mount', device, place.path('mnt'));
  } catch (error) {
    context.skip(`nothing can be mounted here: ${String(error)}`);
  }
  try {
    await writeFile(place.path('mnt', 'a'), noise(2 ** 20, 1));
    system('sync');
    const args = ['checkout', 'fs', '--in-place', '-o'];
    expectFailure(
      await place.run(...args, device),
      1,
      `${device}: is mounted at ${place.path('mnt')}: unmount it first`,
    );
    const ofFile = `which is mounted at ${place.path('mnt')}: unmount it first, then detach it with losetup -d`;
    expectFailure(await place.run(...args, 'backing.raw'), 1, ofFile);
  } finally {
    system('umount', place.path('mnt'));
  }
  system('e2fsck', '-f', '-n', device);
  await place.ok('checkout', 'fs', '--in-place', '-o', device);
  system('e2fsck', '-f', '-n', device);
  expect((await readFile(device)).equals(await readFile(place.path('fs.raw')))).toBe(true);
});
