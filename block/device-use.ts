import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { deviceNumber } from './raw-file.ts';

/**
 * What the system uses a file or block device for, in words that stand behind `is`: a mount, swap, another device. Undefined when nothing is known, also where there is no /proc or /sys. That
 * a device is free only an open with O_EXCL tells.
 * @throws system errors of stat(2)
 */
export async function systemUse(path: string): Promise<string | undefined> {
  const real = await realpath(path);
  const stats = await stat(real, { bigint: true });
  if (await isSwap(real)) return 'used as swap: switch that off with swapoff';
  if (!stats.isBlockDevice()) return await loopUse(`${stats.dev}:${stats.ino}`);
  const { major, minor } = deviceNumber(stats.rdev);
  return await deviceUse(`${major}:${minor}`);
}

/** @param number `major:minor` */
async function deviceUse(number: string): Promise<string | undefined> {
  const folder = join('/sys/dev/block', number);
  const [holder] = await namesIn(join(folder, 'holders'));
  if (holder !== undefined) return `a part of /dev/${holder}: stop that first`;
  const point = (await mounts()).get(number);
  if (point !== undefined) return `mounted at ${point}: unmount it first`;
  for (const name of await namesIn(folder)) {
    const part = (await textOf(join(folder, name, 'dev'))).trim();
    // `subsystem`, `bdi` and others lead to other devices.
    if ((await textOf(join(folder, name, 'partition'))) === '') continue;
    const use = await deviceUse(part);
    if (use !== undefined) return `in use: its partition /dev/${name} is ${use}`;
  }
  return undefined;
}

/** Mount points by the device that is mounted there, `major:minor`. */
async function mounts(): Promise<Map<string, string>> {
  const points = new Map<string, string>();
  for (const line of (await textOf('/proc/self/mountinfo')).split('\n')) {
    const [, , device, , point] = line.split(' ');
    if (device !== undefined && point !== undefined) points.set(device, unescaped(point));
  }
  return points;
}

async function isSwap(real: string): Promise<boolean> {
  const [, ...lines] = (await textOf('/proc/swaps')).split('\n');
  return lines.some((line) => unescaped(line.split(/\s/)[0]!) === real);
}

/** A loop device keeps what it has read of its file, and would write it back. @param inode `st_dev:st_ino` of the file */
async function loopUse(inode: string): Promise<string | undefined> {
  for (const name of await namesIn('/sys/block')) {
    if (!name.startsWith('loop')) continue;
    const file = (await textOf(join('/sys/block', name, 'loop/backing_file'))).replace(/\n$/, '');
    if (file === '') continue;
    const stats = await stat(file, { bigint: true }).catch(() => undefined);
    if (stats === undefined || `${stats.dev}:${stats.ino}` !== inode) continue;
    const number = (await textOf(join('/sys/block', name, 'dev'))).trim();
    const use = await deviceUse(number);
    return `the file of /dev/${name}${use === undefined ? '' : `, which is ${use}`}: detach it with losetup -d`;
  }
  return undefined;
}

/** Blanks and the like stand as octal numbers in the lists of the kernel. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}
