import { lstatSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../errors/index.ts';

/** The folder that is a store, within the folder that it is about. */
export const STORE_FOLDER = '.imgstore';

/** The signs by which git knows a repository. */
const PARTS = ['HEAD', 'config', 'objects', 'refs'] as const;

/** With so many of the signs a folder was meant to be a repository, whatever it is called. */
const TELLING_PARTS = 2;

/**
 * The store that is meant by a folder: its `.imgstore`, or the folder itself.
 * @throws ImgstoreError `NO_STORE`, `BAD_STORE` when a part of it is missing, `IO`
 */
export function storeAt(folder: string): string {
  const inner = join(resolve(folder), STORE_FOLDER);
  const path = isThere(inner) ? inner : resolve(folder);
  const missing = missingParts(path);
  if (missing.length === 0) return path;
  const meant = basename(path) === STORE_FOLDER || PARTS.length - missing.length >= TELLING_PARTS;
  throw meant && isThere(path) ? incomplete(path, missing) : noStore(folder);
}

/**
 * The store of a folder or of the nearest folder above that has one. One that is damaged is not passed over: a store further up is about
 * other disks.
 * @throws ImgstoreError `NO_STORE`, `BAD_STORE`, `IO`
 */
export function findStore(start: string): string {
  for (let folder = resolve(start); ; folder = dirname(folder)) {
    if (isThere(join(folder, STORE_FOLDER))) return storeAt(join(folder, STORE_FOLDER));
    if (folder === dirname(folder)) throw noStore(start);
  }
}

function missingParts(path: string): string[] {
  // HEAD may be a symbolic link to a branch that does not exist yet: git made it so once.
  return PARTS.filter((name) => !isThere(join(path, name), name === 'HEAD' ? lstatSync : statSync));
}

/** Whether something has this name. @throws ImgstoreError `IO` when that may not be known. */
function isThere(path: string, look: typeof statSync = lstatSync): boolean {
  try {
    look(path);
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return false;
    throw fromSystem(error, path);
  }
}

function noStore(folder: string): ImgstoreError {
  return new ImgstoreError('NO_STORE', `no store here (${resolve(folder)}): run 'imgstore init'`, {
    path: resolve(folder),
  });
}

function incomplete(path: string, missing: readonly string[]): ImgstoreError {
  const advice =
    missing.join() === 'HEAD'
      ? `write 'ref: refs/heads/<image>' into ${join(path, 'HEAD')}`
      : missing.join() === 'refs'
        ? `make the folder ${join(path, 'refs')}`
        : `put back what is missing, or move ${path} away and run 'imgstore init'`;
  return new ImgstoreError('BAD_STORE', `${path}: has no ${missing.join(', no ')}: ${advice}`, {
    path,
    missing,
  });
}
