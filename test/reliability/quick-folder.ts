import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

const MEMORY = '/dev/shm';

/** A new empty folder that goes away with the test; in memory where that is possible, as these tests fsync thousands of times. */
export async function quickFolder(): Promise<string> {
  const folder = await mkdtemp(join(isWritable(MEMORY) ? MEMORY : tmpdir(), 'imgstore-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
