import { execFile, spawnSync } from 'node:child_process';
import { copyFile, mkdir, rename } from 'node:fs/promises';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { qemuCheck, qemuImg } from '../qcow2/qemu.ts';

const run = promisify(execFile);

/**
 * A disk that can be started: one ext4 file system without a partition table, with a kernel and an initrd in its /boot and a shell, as
 * `IMGSTORE_BOOT_DISK`. No test makes one, since that takes a distribution's packages.
 */
const DISK = process.env.IMGSTORE_BOOT_DISK || undefined;
const missing = [
  ...(DISK === undefined ? ['IMGSTORE_BOOT_DISK is not set: name a Linux disk'] : []),
  ...['qemu-system-x86_64', 'debugfs'].filter(
    (program) => spawnSync(program, ['-version']).error !== undefined,
  ),
];

/** Takes kernel and initrd out of the disk itself, and runs a command in its shell as the first process. Returns what the console showed. */
async function boot(place: Workplace, image: string, command: string): Promise<string> {
  const raw = place.path('boot.raw');
  await qemuImg('convert', '-O', 'raw', image, raw);
  const list = (await run('debugfs', ['-R', 'ls -p /boot', raw])).stdout;
  const files: string[] = [];
  for (const kind of ['vmlinuz', 'initrd.img']) {
    const name = new RegExp(`/(${kind}-[^/]+)/`).exec(list)?.[1];
    if (name === undefined) throw new Error(`no ${kind} in /boot of ${image}`);
    files.push(place.path(kind));
    await run('debugfs', ['-R', `dump /boot/${name} ${place.path(kind)}`, raw]);
  }
  const script = `mount -t proc proc /proc; mount -t sysfs sysfs /sys; ${command}; sync; echo o > /proc/sysrq-trigger; sleep 9`;
  const { stdout } = await run('qemu-system-x86_64', [
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max', '-m', '1024', '-nographic', '-no-reboot'],
    ...['-kernel', files[0]!, '-initrd', files[1]!, '-drive', `file=${image},format=qcow2,if=virtio`],
    ...['-append', `root=/dev/vda rw console=ttyS0 panic=-1 init=/bin/sh -- -c "${script}"`],
  ]);
  return stdout;
}

test.skipIf(missing.length > 0)(
  `a machine starts from a checked-out chain, goes on in its overlay, and is committed (${missing.join(', ') || 'TCG'})`,
  async () => {
    const place = await Workplace.withStore();
    await copyFile(DISK!, place.path('web.qcow2'));
    await place.ok('commit', 'web.qcow2');
    await place.ok('checkout', 'web', '-o', 'vm.qcow2', '--backing', 'web.qcow2');
    expect(await boot(place, place.path('vm.qcow2'), 'echo first > /root/first; echo BOOTED-OK')).toContain(
      'BOOTED-OK',
    );
    await place.ok('commit', 'vm.qcow2', '-b', 'web');
    await mkdir(place.path('out'));
    const top = await place.json('checkout', 'web', '-o', 'out/top.qcow2', '--backing', 'chain');
    expect(top.backing).toMatch(/^base-/);
    await rename(place.path('out'), place.path('moved'));
    const image = place.path('moved/top.qcow2');
    await qemuCheck(image);
    expect(
      await boot(place, image, 'cat /root/first; echo second > /root/second; echo BOOTED-AGAIN'),
    ).toMatch(/first[\s\S]*BOOTED-AGAIN/);
    await qemuCheck(image);
    // Its base lost, the overlay is still what the machine wrote.
    await place.ok('commit', image, '-b', 'web');
    await rename(place.path('moved', basename(top.backing)), place.path('lost.qcow2'));
    expect(await place.ok('compare', 'web', image)).toBe('identical\n');
  },
);
