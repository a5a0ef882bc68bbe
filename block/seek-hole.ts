import { createRequire } from 'node:module';

/**
 * Holes of sparse files by lseek(2) with SEEK_DATA and SEEK_HOLE.
 *
 * Node has no lseek, so this goes through koffi, an optional dependency. Where koffi or the system lacks it,
 * {@link seekHole} is undefined and callers treat a file as data throughout: slower, never wrong.
 */
export interface SeekHole {
  /** Offset of the first data at or after `offset`, or undefined when only a hole follows. */
  nextData(fd: number, offset: number): number | undefined;
  /** Offset of the first hole at or after `offset`; the end of the file counts as one. */
  nextHole(fd: number, offset: number): number | undefined;
}

/** The two values differ by system: Linux and FreeBSD against macOS. */
const WHENCE =
  process.platform === 'darwin' ? { SEEK_HOLE: 3, SEEK_DATA: 4 } : { SEEK_DATA: 3, SEEK_HOLE: 4 };

function load(): SeekHole | undefined {
  if (process.platform === 'win32') return undefined;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const lseek = koffi.load(null).func('int64_t lseek(int fd, int64_t offset, int whence)');
    const seek = (whence: number) => (fd: number, offset: number) => {
      const at = Number(lseek(fd, offset, whence));
      return at < 0 ? undefined : at;
    };
    return { nextData: seek(WHENCE.SEEK_DATA), nextHole: seek(WHENCE.SEEK_HOLE) };
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
