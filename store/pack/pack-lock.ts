import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fromSystem, ImgstoreError, isImgstoreError, systemCode } from '../../errors/index.ts';
import { isUnfinished, LockFile } from '../../files/index.ts';
import type { Store } from '../store.ts';

/**
 * The right to pack a store: `imgstore/locks/pack.lock`, which says who has it. That of a process of this machine which is gone is taken over, as
 * nobody looks after packing that a commit has started.
 *
 * Two who take one over at the same instant may both go on; that costs room until the next packing, and nothing else, since each removes
 * only what its own new pack holds.
 * @throws ImgstoreError `BUSY` when another process packs this store, `IO`
 */
export async function takePackLock(store: Store): Promise<LockFile> {
  const folder = join(store.folder, 'imgstore', 'locks');
  const path = join(folder, 'pack');
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw fromSystem(error, folder);
  }
  const note = `${process.pid} ${hostname()}\n`;
  try {
    return await LockFile.take('pack-lock', path, 0, note);
  } catch (error) {
    if (!isImgstoreError(error, 'BUSY')) throw error;
    const owner = ownerOf(`${path}.lock`);
    if (owner === undefined) throw error;
    if (!isGone(owner, `${path}.lock`)) throw busy(path, owner);
    setAside(`${path}.lock`);
    return LockFile.take('pack-lock', path, 0, note);
  }
}

interface Owner {
  readonly pid: number;
  readonly host: string;
}

/** Undefined for a lock that says nothing: that of somebody who is just taking it. */
function ownerOf(lock: string): Owner | undefined {
  try {
    const [, pid, host] = /^([1-9]\d{0,9}) (\S+)\n$/.exec(readFileSync(lock, 'latin1')) ?? [];
    return pid === undefined ? undefined : { pid: Number(pid), host: host! };
  } catch {
    return undefined;
  }
}

function isGone({ pid, host }: Owner, lock: string): boolean {
  if (host !== hostname()) return false;
  // Numbers come again: in a container each run may have the same.
  if (pid === process.pid) return !isUnfinished(lock);
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return systemCode(error) === 'ESRCH';
  }
}

/** Renamed first, so that of several only one removes it. */
function setAside(lock: string): void {
  const stale = `${lock}.${process.pid}`;
  try {
    renameSync(lock, stale);
    rmSync(stale, { force: true });
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fromSystem(error, lock);
  }
}

function busy(path: string, { pid, host }: Owner): ImgstoreError {
  const lock = `${path}.lock`;
  return new ImgstoreError(
    'BUSY',
    `${path}: process ${pid} on ${host} packs this store: wait until it is done; if it is not running, remove ${lock}`,
    { path, lock, pid, host },
  );
}
