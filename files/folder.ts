import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fromSystem, isImgstoreError, systemCode } from '../errors/index.ts';
import { makeMissingFolders } from './missing-folders.ts';
import { type FileKind, syncFolder } from './pending-file.ts';
import { passPoint } from './points.ts';
import type { FileRules } from './rules.ts';
import { sharePath } from './sharing.ts';

/** How often a folder is made again that another process has removed, since it was empty, before the file was in it. */
const MOST_TRIES = 10;

/**
 * Makes a folder, with those above it, so that it lasts through a power failure: each folder in which one is made is fsynced. Does nothing
 * when it is there.
 * @param kind names the points, as in a pending file
 * @throws ImgstoreError `IO`
 */
export async function makeFolder(kind: FileKind, path: string, { sharing }: FileRules = {}): Promise<void> {
  if (existsSync(path)) return;
  try {
    passPoint(`${kind}.create`, path);
    const first = await makeMissingFolders(path);
    if (first === undefined) return;
    const top = dirname(resolve(first));
    for (let made = resolve(path); made !== top; made = dirname(made)) {
      sharePath(made, sharing);
      await syncFolder(kind, dirname(made));
    }
  } catch (error) {
    throw fromSystem(error, path);
  }
}

/**
 * Makes the folder that a file will be in and makes the file; both again when another process has removed the folder between the two, as those of
 * removed refs are.
 * @throws ImgstoreError `IO`, and what `make` throws
 */
export async function makeInFolder<T>(
  kind: FileKind,
  path: string,
  make: () => Promise<T>,
  rules: FileRules = {},
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      await makeFolder(kind, dirname(path), rules);
      return await make();
    } catch (error) {
      const gone = systemCode(error) === 'ENOENT' || isImgstoreError(error, 'NOT_FOUND');
      if (!gone || tries === MOST_TRIES) throw fromSystem(error, path);
    }
  }
}
