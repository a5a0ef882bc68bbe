/** Units in {@link mixedDisk}; the disk's size is this many times its unit. */
const UNITS = 384;

/**
 * A disk of which every kind of neighbourhood is a part: long and short runs of data and of zeros, data that
 * begins with zeros, zeros but for one byte. The same on every run.
 * @param unit size in bytes of the smallest run
 */
export function mixedDisk(unit: number): Uint8Array {
  const disk = new Uint8Array(UNITS * unit);
  let state = 1;
  const next = () => {
    // Park and Miller's generator: good enough to look like data, and exact in doubles.
    state = (state * 48271) % 2147483647;
    return state;
  };
  for (let at = 0; at < UNITS; ) {
    const length = 1 + (next() % 24);
    const run = disk.subarray(at * unit, (at + length) * unit);
    const kind = next() % 4;
    if (kind === 0) fill(run, next);
    if (kind === 1) fill(run.subarray(run.length >> 1), next);
    if (kind === 2) run[next() % run.length] = 1;
    at += length;
  }
  return disk;
}

function fill(bytes: Uint8Array, next: () => number): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = next() & 0xff;
}
