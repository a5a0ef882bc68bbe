import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isImgstoreError, systemCode } from '../../errors/index.ts';
import { PendingFile, syncFolder } from '../../files/index.ts';
import type { Store } from '../store.ts';

const KEY_BYTES = 32;

/**
 * The key with which a store seals what it writes into the headers of checkouts, made when there is none. It is no object, so no copy of the
 * store has it: who can read it can read the store. Undefined where it cannot be read or made, as in a store without the right to write.
 */
export async function originKey(store: Store): Promise<Uint8Array | undefined> {
  const path = keyPath(store);
  return (await readKey(path)) ?? (await makeKey(store, path));
}

/** As {@link originKey}, but undefined when there is none yet. */
export function presentOriginKey(store: Store): Promise<Uint8Array | undefined> {
  return readKey(keyPath(store));
}

function keyPath(store: Store): string {
  return join(store.folder, 'imgstore', 'key');
}

async function readKey(path: string): Promise<Uint8Array | undefined> {
  try {
    const key = await readFile(path);
    return key.length === KEY_BYTES ? key : undefined;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}

async function makeKey(store: Store, path: string): Promise<Uint8Array | undefined> {
  const folder = join(store.folder, 'imgstore');
  let file: PendingFile | undefined;
  try {
    file = await PendingFile.create('key', folder, { mode: 0o600, sharing: store.rules.sharing });
    const key = randomBytes(KEY_BYTES);
    await file.write(0, key);
    await file.sync();
    await file.claim(path);
    await syncFolder('key', folder);
    return key;
  } catch (error) {
    await file?.discard();
    // Without a key a checkout is as good, but for the day on which its backing file is lost. Another process may have made one meanwhile.
    if (!isImgstoreError(error)) throw error;
    return readKey(path);
  }
}
