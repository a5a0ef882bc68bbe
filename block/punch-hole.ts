import { createRequire } from 'node:module';

/** fallocate(2): gives back the room of a range, which reads as zeros from then on, and leaves the file's length. */
const PUNCH_HOLE = 0x02;
const KEEP_SIZE = 0x01;

/** Makes a range of an open file or block device zeros without writing them; false when it cannot. */
export type PunchHole = (fd: number, offset: number, length: number) => boolean;

/**
 * Node has no fallocate, so this goes through koffi, an optional dependency. On a block device Linux discards the range, or lets the device write zeros by itself; the range must then
 * consist of whole logical blocks.
 */
function load(): PunchHole | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const library = koffi.load(null);
    // musl has the one name, whose offsets have 64 bits everywhere; glibc's do so under the other.
    const declare = (name: string) =>
      library.func(`int ${name}(int fd, int mode, int64_t offset, int64_t length)`);
    let fallocate: ReturnType<typeof declare>;
    try {
      fallocate = declare('fallocate64');
    } catch {
      fallocate = declare('fallocate');
    }
    return (fd, offset, length) => fallocate(fd, PUNCH_HOLE | KEEP_SIZE, offset, length) === 0;
  } catch {
    return undefined;
  }
}

let loaded: { readonly value: PunchHole | undefined } | undefined;

/** The system's hole punch, loaded on first use; undefined where there is none. A `false` of it says nothing about why: who then writes zeros is told. */
export function punchHole(): PunchHole | undefined {
  loaded ??= { value: load() };
  return loaded.value;
}
