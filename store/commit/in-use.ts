import { readFile, realpath, stat } from 'node:fs/promises';
import { deviceNumber } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';

/**
 * QEMU marks what it does with an image by locks on single bytes (block/file-posix.c): 100 + n for a permission that it holds. Bit 1 is writing, bit 3
 * resizing.
 */
const PERMISSION_BASE = 100;
const WRITE = PERMISSION_BASE + 1;
const RESIZE = PERMISSION_BASE + 3;

/** `1: OFDLCK ADVISORY  READ -1 fe:00:131 100 101` (proc(5)). */
const LOCK_PATTERN = /^\d+: \S+\s+\S+\s+\S+\s+\S+ ([0-9a-f]+):([0-9a-f]+):(\d+) (\d+) (\d+|EOF)/;

/**
 * Refuses a file that a running QEMU has open for writing: its bytes are not those of any one moment.
 * @throws ImgstoreError `IN_USE`
 */
export async function refuseInUse(path: string): Promise<void> {
  let locks: string;
  try {
    locks = await readFile('/proc/locks', 'latin1');
  } catch {
    return; // not Linux: nothing to go by
  }
  const { ino } = await stat(path, { bigint: true });
  const devices = await devicesOf(path);
  for (const line of locks.split('\n')) {
    const match = LOCK_PATTERN.exec(line);
    if (match === null || match[3] !== String(ino)) continue;
    if (!devices.has(`${Number.parseInt(match[1]!, 16)}:${Number.parseInt(match[2]!, 16)}`)) continue;
    const from = Number(match[4]);
    const to = match[5] === 'EOF' ? Number.MAX_SAFE_INTEGER : Number(match[5]);
    const covers = (byte: number) => from <= byte && byte <= to;
    // A lock on the whole file is some other program's; QEMU's cover single bytes here.
    if (from >= PERMISSION_BASE && (covers(WRITE) || covers(RESIZE))) {
      throw new ImgstoreError(
        'IN_USE',
        `${path}: a running QEMU has it open for writing: stop the machine, or pass --force-share to store it as it is now`,
        { path },
      );
    }
  }
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
