import { createRequire } from 'node:module';
import { constants } from 'node:os';

/**
 * Holes of sparse files by lseek(2) with SEEK_DATA and SEEK_HOLE.
 *
 * Node has no lseek, so this goes through koffi, an optional dependency. Where koffi or the system lacks it,
 * {@link seekHole} is undefined and callers treat a file as data throughout: slower, never wrong. The same holds for an answer that is
 * an error: only ENXIO says that nothing but a hole follows.
 */
export interface SeekHole {
  /** Offset of the first data at or after `offset`; Infinity when only a hole follows. */
  nextData(fd: number, offset: number): number;
  /** Offset of the first hole at or after `offset`, which must be data; the end of the file counts as one, Infinity when it cannot be told. */
  nextHole(fd: number, offset: number): number;
}

/** The two values differ by system: Linux and FreeBSD against macOS. */
const WHENCE =
  process.platform === 'darwin' ? { SEEK_HOLE: 3, SEEK_DATA: 4 } : { SEEK_DATA: 3, SEEK_HOLE: 4 };

function load(): SeekHole | undefined {
  if (process.platform === 'win32') return undefined;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const lseek = koffi.load(null).func('int64_t lseek(int fd, int64_t offset, int whence)');
    const seek = (fd: number, offset: number, whence: number) => Number(lseek(fd, offset, whence));
    return {
      nextData: (fd, offset) => {
        const at = seek(fd, offset, WHENCE.SEEK_DATA);
        if (at >= 0) return at;
        return koffi.errno() === constants.errno.ENXIO ? Number.POSITIVE_INFINITY : offset;
      },
      nextHole: (fd, offset) => {
        const at = seek(fd, offset, WHENCE.SEEK_HOLE);
        return at >= 0 ? at : Number.POSITIVE_INFINITY;
      },
    };
  } catch {
    return undefined;
  }
}

let loaded: { readonly value: SeekHole | undefined } | undefined;

/** The system's hole finder, loaded on first use (6 ms); undefined where there is none. */
export function seekHole(): SeekHole | undefined {
  loaded ??= { value: load() };
  return loaded.value;
}
