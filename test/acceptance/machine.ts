import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import type { TestContext } from 'vitest';
import type { Workplace } from '../cmd/imgstore.ts';
import { qemuImg } from '../qcow2/qemu.ts';
import { bootDisk } from './boot-disk.ts';

const run = promisify(execFile);

/** What is missing here to start a machine. */
const missing = ['qemu-system-x86_64', 'mke2fs', 'debugfs'].filter(
  (program) => spawnSync(program, ['-version']).error !== undefined,
);

/** A disk to start: `IMGSTORE_BOOT_DISK`, one ext4 file system with a kernel and an initrd in its /boot and a shell; else a small one is made. */
export async function diskToStart(context: TestContext): Promise<string> {
  if (missing.length > 0) context.skip(`no ${missing.join(', ')} here`);
  return (
    process.env.IMGSTORE_BOOT_DISK ||
    bootDisk().catch((error: Error) =>
      context.skip(`no disk to start can be made, and IMGSTORE_BOOT_DISK names none: ${error.message}`),
    )
  );
}

/** Takes kernel and initrd out of a disk, by the names that they begin with. */
export async function bootFiles(place: Workplace, image: string, format = 'qcow2'): Promise<BootFiles> {
  const raw = place.path('boot.raw');
  await qemuImg('convert', '-f', format, '-O', 'raw', image, raw);
  return bootFilesIn(place, raw);
}

/** As {@link bootFiles}, out of a disk that is a file as it is: no more of it is read. */
export async function bootFilesIn(place: Workplace, raw: string): Promise<BootFiles> {
  const { stdout: list, stderr } = await run('debugfs', ['-R', 'ls -p /boot', raw]);
  const take = async (kind: string) => {
    const name = new RegExp(`/(${kind}-[^/]+)/`).exec(list)?.[1];
    if (name === undefined) throw new Error(`no ${kind} in /boot of ${raw}: ${stderr}`);
    await run('debugfs', ['-R', `dump /boot/${name} ${place.path(kind)}`, raw]);
    return { inside: `/boot/${name}`, path: place.path(kind) };
  };
  return [await take('vmlinuz'), await take('initrd.img')];
}

/** What a machine starts from. */
export type BootFiles = readonly [kernel: BootFile, initrd: BootFile];

/** A file of a disk. */
interface BootFile {
  /** Its path on the disk. */
  readonly inside: string;
  /** Where a copy of it is. */
  readonly path: string;
}

/** Starts a machine from an image or an export alone, and runs a command in its shell as the first process. Returns what the console showed. */
export async function boot(
  place: Workplace,
  image: string,
  command: string,
  format = 'qcow2',
): Promise<string> {
  return bootFrom(await bootFiles(place, image, format), image, command, format);
}

/** As {@link boot}, with a kernel and an initrd that were taken out before. */
export async function bootFrom(
  [kernel, initrd]: BootFiles,
  image: string,
  command: string,
  format = 'qcow2',
): Promise<string> {
  // Without a file system in order, debugfs may not read it the next time: it knows no journal.
  const script = `mount -t proc proc /proc; mount -t sysfs sysfs /sys; ${command}; mount -o remount,ro /; echo o > /proc/sysrq-trigger; sleep 9`;
  const { stdout } = await run('qemu-system-x86_64', [
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max', '-m', '512', '-nographic', '-no-reboot'],
    ...['-kernel', kernel.path, '-initrd', initrd.path],
    ...['-drive', `file=${image},format=${format},if=virtio`],
    ...['-append', `root=/dev/vda rw console=ttyS0 panic=-1 init=/bin/sh -- -c "${script}"`],
  ]);
  return stdout;
}
