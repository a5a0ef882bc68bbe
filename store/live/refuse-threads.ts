import { ImgstoreError } from '../../errors/index.ts';
import type { LiveDisk } from './find-disks.ts';
import type { Monitor } from './monitor.ts';

/** The first QEMU whose NBD server may end a client that a thread of its own serves. */
const [SAFE_MAJOR, SAFE_MINOR] = [8, 2];

/**
 * Refuses disks that a QEMU older than 8.2 serves in an iothread. When a client of an export there goes, also by a kill of imgstore, some of
 * them (7.2.14 and later, Debian 12) end with the machine: `nbd_blockdev_client_closed: Assertion 'qemu_in_main_thread()' failed`.
 * @throws ImgstoreError `UNSUPPORTED`, `QMP`
 */
export async function refuseThreads(monitor: Monitor, disks: readonly LiveDisk[]): Promise<void> {
  const version = await monitor.version();
  if (isSafeWithThreads(version)) return;
  if (!(await monitor.hasThreads())) return;
  for (const { name, qdev } of disks) {
    // That of a SCSI disk is its controller's.
    const thread = qdev === undefined ? undefined : await monitor.property(qdev, 'iothread');
    if (thread === '') continue;
    throw threadRefusal(monitor.label, name, version, 'take iothread= from the device');
  }
}

/** Whether a QEMU may end a client of a disk that an iothread serves. */
export function isSafeWithThreads([major, minor]: readonly [number, number]): boolean {
  return major > SAFE_MAJOR || (major === SAFE_MAJOR && minor >= SAFE_MINOR);
}

/** @param otherwise what can be done in place of a newer QEMU */
export function threadRefusal(
  label: string,
  disk: string,
  [major, minor]: readonly [number, number],
  otherwise: string,
): ImgstoreError {
  return new ImgstoreError(
    'UNSUPPORTED',
    `${label}: disk ${disk} may be served by an iothread, and QEMU ${major}.${minor} can crash with the machine when a client of such a disk goes: use QEMU 8.2 or newer, or ${otherwise}`,
    { disk },
  );
}
