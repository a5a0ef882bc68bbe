import { open } from 'node:fs/promises';
import { isZero } from '../../block/index.ts';

const BLOCK = 4096;

/** Writes `bytes` to a new file at `path` and leaves a hole wherever a block of 4 KiB is all zeros. */
export async function writeSparse(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.truncate(bytes.length);
    for (let at = 0; at < bytes.length; at += BLOCK) {
      const block = bytes.subarray(at, at + BLOCK);
      if (!isZero(block)) await file.write(block, 0, block.length, at);
    }
  } finally {
    await file.close();
  }
}
