import { execFile, spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import { expect, type TestContext, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { qemuCheck, qemuImg } from '../qcow2/qemu.ts';
import { fileDigest } from '../reliability/sample-history.ts';
import { bootDisk } from './boot-disk.ts';

const run = promisify(execFile);

/** What is missing here to start a machine. */
const missing = ['qemu-system-x86_64', 'mke2fs', 'debugfs'].filter(
  (program) => spawnSync(program, ['-version']).error !== undefined,
);

/** A disk to start: `IMGSTORE_BOOT_DISK`, one ext4 file system with a kernel and an initrd in its /boot and a shell; else a small one is made. */
async function diskToStart(context: TestContext): Promise<string> {
  if (missing.length > 0) context.skip(`no ${missing.join(', ')} here`);
  return (
    process.env.IMGSTORE_BOOT_DISK ||
    bootDisk().catch((error: Error) =>
      context.skip(`no disk to start can be made, and IMGSTORE_BOOT_DISK names none: ${error.message}`),
    )
  );
}

/** Takes kernel and initrd out of a disk, by the names that they begin with. */
async function bootFiles(
  place: Workplace,
  image: string,
): Promise<readonly [kernel: BootFile, initrd: BootFile]> {
  const raw = place.path('boot.raw');
  await qemuImg('convert', '-O', 'raw', image, raw);
  const { stdout: list, stderr } = await run('debugfs', ['-R', 'ls -p /boot', raw]);
  const take = async (kind: string) => {
    const name = new RegExp(`/(${kind}-[^/]+)/`).exec(list)?.[1];
    if (name === undefined) throw new Error(`no ${kind} in /boot of ${image}: ${stderr}`);
    await run('debugfs', ['-R', `dump /boot/${name} ${place.path(kind)}`, raw]);
    return { inside: `/boot/${name}`, path: place.path(kind) };
  };
  return [await take('vmlinuz'), await take('initrd.img')];
}

/** A file of a disk. */
interface BootFile {
  /** Its path on the disk. */
  readonly inside: string;
  /** Where a copy of it is. */
  readonly path: string;
}

/** Starts a machine from an image alone, and runs a command in its shell as the first process. Returns what the console showed. */
async function boot(place: Workplace, image: string, command: string): Promise<string> {
  const [kernel, initrd] = await bootFiles(place, image);
  // Without a file system in order, debugfs may not read it the next time: it knows no journal.
  const script = `mount -t proc proc /proc; mount -t sysfs sysfs /sys; ${command}; mount -o remount,ro /; echo o > /proc/sysrq-trigger; sleep 9`;
  const { stdout } = await run('qemu-system-x86_64', [
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max', '-m', '512', '-nographic', '-no-reboot'],
    ...['-kernel', kernel.path, '-initrd', initrd.path],
    ...['-drive', `file=${image},format=qcow2,if=virtio`],
    ...['-append', `root=/dev/vda rw console=ttyS0 panic=-1 init=/bin/sh -- -c "${script}"`],
  ]);
  return stdout;
}

test('a machine starts from a checked-out chain, goes on in its overlay, and is committed', {
  timeout: 0,
}, async (context) => {
  const disk = await diskToStart(context);
  const place = await Workplace.withStore();
  await qemuImg('convert', '-O', 'qcow2', disk, place.path('web.qcow2'));
  const [kernel] = await bootFiles(place, place.path('web.qcow2'));
  const digest = fileDigest(kernel.path);
  await place.ok('commit', 'web.qcow2');
  await place.ok('checkout', 'web', '-o', 'vm.qcow2', '--backing', 'web.qcow2', '--track');
  const first = `sha256sum ${kernel.inside}; echo first > /root/first; echo BOOTED-OK`;
  // The console shows the command line too.
  const said = await boot(place, place.path('vm.qcow2'), first);
  expect(said).toMatch(/^BOOTED-OK\r?$/m);
  expect(said, 'what the guest reads').toContain(digest);
  const { disks } = await place.json('commit', 'vm.qcow2', '-b', 'web');
  expect(disks[0].readBytes, 'of a tracked disk').toBeLessThan(statSync(disk).size / 4);
  expect(await place.ok('compare', 'web', 'vm.qcow2')).toBe('identical\n');
  await mkdir(place.path('out'));
  const top = await place.json('checkout', 'web', '-o', 'out/top.qcow2', '--backing', 'chain');
  expect(top.backing).toMatch(/^base-/);
  await rename(place.path('out'), place.path('moved'));
  const image = place.path('moved/top.qcow2');
  await qemuCheck(image);
  await qemuImg('compare', place.path('vm.qcow2'), image);
  const second = `cat /root/first; sha256sum ${kernel.inside}; echo second > /root/second; echo BOOTED-AGAIN`;
  const again = await boot(place, image, second);
  expect(again).toMatch(/^first\r?$[\s\S]*^BOOTED-AGAIN\r?$/m);
  expect(again, 'what the guest reads').toContain(digest);
  await qemuCheck(image);
  // Its base lost, the overlay is still what the machine wrote.
  await place.ok('commit', image, '-b', 'web');
  await rename(place.path('moved', basename(top.backing)), place.path('lost.qcow2'));
  expect(await place.ok('compare', 'web', image)).toBe('identical\n');
});
