import { createRequire } from 'node:module';
import { constants } from 'node:os';

/** fcntl(2) on Linux: a lock of the open file, not of the process. */
const F_OFD_SETLK = 37;
const F_WRLCK = 1;
/** Where QEMU's locks on an image lie (block/file-posix.c): see qemu-locks.ts. */
const FIRST_LOCK = 100;
const LOCKS = 200;
/** `struct flock` has this form where `long` has 64 bits. */
const WIDE: ReadonlySet<string> = new Set(['x64', 'arm64', 'riscv64', 'loong64', 'ppc64', 's390x']);
const BUSY: ReadonlySet<number> = new Set([constants.errno.EAGAIN, constants.errno.EACCES]);

type TryLock = (fd: number) => 'locked' | 'busy' | undefined;

function load(): TryLock | undefined {
  if (process.platform !== 'linux' || !WIDE.has(process.arch)) return undefined;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const fcntl = koffi.load(null).func('int fcntl(int fd, int command, ...)');
    return (fd) => {
      // short type, short whence; int64 start, length; int pid.
      const lock = new BigInt64Array([0n, BigInt(FIRST_LOCK), BigInt(LOCKS), 0n]);
      new Int16Array(lock.buffer)[0] = F_WRLCK;
      if (fcntl(fd, F_OFD_SETLK, 'void *', Buffer.from(lock.buffer)) === 0) return 'locked';
      return BUSY.has(koffi.errno()) ? 'busy' : undefined;
    };
  } catch {
    return undefined;
  }
}

let loaded: { readonly value: TryLock | undefined } | undefined;

/**
 * Takes all the locks by which QEMU marks what it does with an image, so that no QEMU opens it until the descriptor is closed, and no other imgstore writes into it.
 * @param fd open for writing
 * @returns `busy` when somebody has one of them; undefined when the system or the file system has no such locks, or koffi, an optional dependency, is missing
 */
export function lockImage(fd: number): 'locked' | 'busy' | undefined {
  loaded ??= { value: load() };
  return loaded.value?.(fd);
}
