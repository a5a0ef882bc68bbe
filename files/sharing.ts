import { chmodSync, fchmodSync, fstatSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fromSystem, systemCode } from '../errors/index.ts';
import { namesIn } from './names-in.ts';

/** Who else may use a store's files: git's `core.sharedRepository` (git-config(1)). */
export interface Sharing {
  /** Permission bits to read and write, without those to execute. */
  readonly bits: number;
  /** Whether the umask does not count, so that the bits are all that files get; else they are added to what the umask leaves. */
  readonly exact: boolean;
}

const NOT_READABLE: ReadonlySet<string> = new Set(['EACCES']);

const FOLDER = 0o040000;
const KIND_BITS = 0o170000;
const OWNER_WRITES = 0o200;
const OWNER_EXECUTES = 0o100;
const GROUP_READS_OR_WRITES = 0o060;
/** What is made in such a folder belongs to its group. */
const SET_GROUP_ID = 0o2000;

/**
 * The mode that git gives a file or folder in a shared repository (path.c: calc_shared_perm, adjust_shared_perm).
 * @param mode as stat(2) has it, with the kind of file
 */
export function sharedMode(mode: number, { bits, exact }: Sharing): number {
  let given = bits;
  if ((mode & OWNER_WRITES) === 0) given &= ~0o222;
  if ((mode & OWNER_EXECUTES) !== 0) given |= executeWhereRead(given);
  const shared = exact ? (mode & ~0o777) | given : mode | given;
  if ((mode & KIND_BITS) !== FOLDER) return shared;
  const entered = shared | executeWhereRead(shared);
  return (entered & GROUP_READS_OR_WRITES) === 0 ? entered : entered | SET_GROUP_ID;
}

/** Gives an open file that this process has made the mode that it must have. @throws ImgstoreError `IO`. */
export function shareFile(fd: number, path: string, sharing: Sharing | undefined): void {
  if (sharing === undefined) return;
  try {
    const { mode } = fstatSync(fd);
    const wanted = sharedMode(mode, sharing);
    if (wanted !== mode) fchmodSync(fd, wanted & 0o7777);
  } catch (error) {
    throw fromSystem(error, path);
  }
}

/** As {@link shareFile} by path, for a folder or a file. One that has gone, and one of another user, who alone can change its mode, is left alone. */
export function sharePath(path: string, sharing: Sharing | undefined): void {
  if (sharing === undefined) return;
  try {
    const { mode } = statSync(path);
    const wanted = sharedMode(mode, sharing);
    if (wanted !== mode) chmodSync(path, wanted & 0o7777);
  } catch (error) {
    if (!['ENOENT', 'EPERM'].includes(systemCode(error) ?? '')) throw fromSystem(error, path);
  }
}

/** {@link sharePath} for a folder and what is in it: for what another program has made. */
export function shareFolder(folder: string, sharing: Sharing | undefined): void {
  if (sharing === undefined) return;
  sharePath(folder, sharing);
  for (const name of namesIn(folder, NOT_READABLE)) sharePath(join(folder, name), sharing);
}

function executeWhereRead(mode: number): number {
  return (mode & 0o444) >> 2;
}
