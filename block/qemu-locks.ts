import { readFile, realpath, stat } from 'node:fs/promises';
import { deviceNumber } from './raw-file.ts';

/**
 * QEMU marks what it does with an image by locks on single bytes (block/file-posix.c): 100 + n for a permission that it has, 200 + n for one that
 * it denies to others. Permission 1 is writing, 3 resizing.
 */
const FIRST_LOCK = 100;
const LAST_LOCK = 299;
const WRITE = FIRST_LOCK + 1;
const RESIZE = FIRST_LOCK + 3;

/** `1: OFDLCK ADVISORY  READ -1 fe:00:131 100 101` (proc(5)). */
const LOCK_PATTERN = /^\d+: \S+\s+\S+\s+\S+\s+\S+ ([0-9a-f]+):([0-9a-f]+):(\d+) (\d+) (\d+|EOF)/;

/**
 * What a running QEMU does with a file, by its locks; undefined when none has it open, and where there is no /proc/locks.
 * @throws system errors of stat(2)
 */
export async function usedByQemu(path: string): Promise<'writing' | 'reading' | undefined> {
  const locks = await readFile('/proc/locks', 'latin1').catch(() => '');
  if (locks === '') return undefined;
  const { ino } = await stat(path, { bigint: true });
  const devices = await devicesOf(path);
  let use: 'reading' | undefined;
  for (const line of locks.split('\n')) {
    const match = LOCK_PATTERN.exec(line);
    if (match === null || match[3] !== String(ino)) continue;
    if (!devices.has(`${Number.parseInt(match[1]!, 16)}:${Number.parseInt(match[2]!, 16)}`)) continue;
    const from = Number(match[4]);
    const to = match[5] === 'EOF' ? Number.MAX_SAFE_INTEGER : Number(match[5]);
    // A lock on more of the file is some other program's.
    if (from < FIRST_LOCK || to > LAST_LOCK) continue;
    const covers = (byte: number) => from <= byte && byte <= to;
    if (covers(WRITE) || covers(RESIZE)) return 'writing';
    use = 'reading';
  }
  return use;
}

/**
 * The device numbers by which /proc/locks may name the file: that of stat(2), and that of its mount, which differs on btrfs
 * and overlayfs.
 */
async function devicesOf(path: string): Promise<ReadonlySet<string>> {
  const { dev } = await stat(path, { bigint: true });
  const { major, minor } = deviceNumber(dev);
  const devices = new Set([`${major}:${minor}`]);
  const real = await realpath(path);
  const mounts = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  let longest = -1;
  let mounted: string | undefined;
  for (const line of mounts.split('\n')) {
    const [, , device, , point] = line.split(' ');
    if (device === undefined || point === undefined || point.length < longest) continue;
    const folder = point.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    if (real !== folder && !real.startsWith(folder.endsWith('/') ? folder : `${folder}/`)) continue;
    longest = point.length;
    mounted = device;
  }
  if (mounted !== undefined) devices.add(mounted);
  return devices;
}
