import { readFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Random } from '../qcow2/differential/random.ts';

/** Runs `work`, and returns what the file holds at each fsync of any file, at the start and at the end. */
export async function statesAtSyncs(path: string, work: () => Promise<unknown>): Promise<Buffer[]> {
  const states = [readFileSync(path)];
  const handle = await open(path, 'r');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const sync = Reflect.get(prototype, 'sync');
  prototype.sync = function (this: FileHandle) {
    states.push(readFileSync(path));
    return sync.call(this);
  };
  try {
    await work();
  } finally {
    prototype.sync = sync;
  }
  return [...states, readFileSync(path)];
}

/**
 * What a disk may hold when the power fails between two fsyncs: of each sector that was written the bytes before or after.
 * @param sector bytes that a disk writes as a whole
 */
export function mixed(before: Buffer, after: Buffer, random: Random, sector = 512): Buffer {
  const size = random.pick([before.length, after.length]);
  const bytes = Buffer.alloc(Math.max(size, after.length));
  before.copy(bytes);
  const odds = random.pick([2, 4, 20]);
  const keepsFew = random.once(2);
  for (let at = 0; at < after.length; at += sector)
    if (random.once(odds) === keepsFew) bytes.set(after.subarray(at, at + sector), at);
  return bytes.subarray(0, size);
}
