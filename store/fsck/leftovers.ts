import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { shellWord } from '../../errors/index.ts';
import { isGone, isLeftBehind, type LockHolder, parseLockText, thisProcess } from '../../files/index.ts';

/** Folders of the store that hold no files of its own making: the caches look after themselves. */
const NOT_LOOKED_INTO = ['imgstore/index', 'imgstore/sketches', 'imgstore/aside'];

/** Locks and temporary files that are there, one line each: who may have left them, and what to do. No damage: nothing reads them. */
export function leftovers(store: string): string[] {
  return leftoverFiles(store, '').flatMap(({ path, isLock }) => {
    const full = join(store, path);
    if (isLock) return lockNotice(full);
    const left = isLeftBehind(path);
    if (left === false) return [];
    if (left === true) return `${full}: was left by a process that was stopped: imgstore gc removes it`;
    return `${full}: is a temporary file: if nothing is running on this store, remove it with rm ${shellWord(full)}`;
  });
}

function lockNotice(path: string): string[] {
  let holder: LockHolder | undefined;
  try {
    holder = parseLockText(readFileSync(path, 'utf8'));
  } catch {
    // Gone, or not to be read: nothing more can be said.
  }
  if (holder === undefined)
    return [`${path}: is a lock: if nothing is running on this store, remove it with rm ${shellWord(path)}`];
  const { owner } = holder;
  if (isGone(owner))
    return [`${path}: was left by a process that runs no more: the next that needs it takes it over`];
  return owner.pid === thisProcess().pid ? [] : [`${path}: is held by process ${owner.pid} on ${owner.host}`];
}

function leftoverFiles(store: string, folder: string): { readonly path: string; readonly isLock: boolean }[] {
  if (NOT_LOOKED_INTO.includes(folder)) return [];
  let entries: import('node:fs').Dirent[];
  try {
    entries = readdirSync(join(store, folder), { withFileTypes: true });
  } catch {
    return [];
  }
  return entries.flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return leftoverFiles(store, path);
    const isLock = entry.name.endsWith('.lock');
    return isLock || /^\.?tmp_/.test(entry.name) ? [{ path, isLock }] : [];
  });
}
