import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { checkStore, type FsckReport, Store } from '../../../store/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';

/** A copy of a store that goes away with the test, to be damaged. */
export async function copyOf(store: string): Promise<string> {
  const path = join(await temporaryFolder(), '.imgstore');
  cpSync(store, path, { recursive: true });
  return path;
}

/** Checks a store as another process would. */
export async function fsck(path: string, quick = false): Promise<FsckReport> {
  const store = await Store.open(path);
  onTestFinished(() => store.close());
  try {
    return await checkStore(store, { quick });
  } finally {
    store.close();
  }
}

/** Changes some bytes of a file, also of one that is read-only. */
export function patch(path: string, change: (bytes: Buffer) => Buffer | undefined): void {
  const bytes = readFileSync(path);
  writeFileSync(path, change(bytes) ?? bytes);
}

/** Flips one bit. */
export function flipBit(path: string, bit: number): void {
  patch(path, (bytes) => {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    return undefined;
  });
}
