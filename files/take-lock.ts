import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  ftruncateSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fromSystem, systemCode } from '../errors/index.ts';
import { ownLockText, parseLockText, readLockText } from './lock-text.ts';
import { isGone, randomOwnerSuffix } from './owner.ts';
import { type FileKind, NO_LINKS } from './pending-file.ts';
import { passPoint } from './points.ts';
import type { FileRules } from './rules.ts';
import { shareFile } from './sharing.ts';
import { forgetUnfinished, watchUnfinished } from './temporary.ts';

/** What a full disk answers. */
const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/** Digits of the name of the lock for taking a lock over. */
const HEIR_DIGITS = 32;

/**
 * Takes a lock if nobody holds it, or if who held it is gone. Returns whether it is ours now. Synchronous, so that no exit can come between making a
 * lock and knowing that it is ours to remove.
 *
 * A lock that is not there is made by link(2) from a file that names this process already, which fails when the name is taken; so our locks never say
 * nothing, and one that does is git's, or was made on a disk without room, and is waited for.
 *
 * **Taking over.** A lock whose text names a process that {@link isGone} is replaced by rename(2) with our own. Several may try at once, and meanwhile one
 * of them may have taken it over, let go of it, and a third one have taken it anew; that lock must never be replaced. So who wants to take over a
 * lock of a certain text takes another lock first, the *heir* lock, whose name is a digest of that text and of the lock's name, reads the lock once more, and
 * replaces it only when the text is still the same:
 *
 * - Two never replace the same lock: both need the same heir lock.
 * - Between the second look and the rename the lock cannot become another's. Its text names a dead process, which does nothing any more; others remove or
 *   replace it only as heirs of the same text, and that is us. The text need not be of the same *instance* of the lock: every lock with a
 *   text that names a dead process is stale, and a living process never writes one.
 * - Who comes late, with a text read before, gets the heir lock but sees another text, or none, and lets go.
 * - A kill between making the heir lock and removing it leaves that, as a lock which names a dead process: it is taken over in the same way, by
 *   an heir of the heir, whose lock has another name since the text is another. A kill after the rename leaves besides a lock that names the killed
 *   one, and that is the next to be taken over. There is no moment at which the lock's name is free and nobody's.
 *
 * Left to trust is that nobody removes by hand, between the second look and the rename, a lock that is just being taken over.
 * @param lock the lock's own path
 * @throws ImgstoreError `IO`, `NOT_FOUND` when its folder is not there
 */
export function takeNow(kind: FileKind, lock: string, rules: FileRules): boolean {
  const held = readLockText(lock);
  if (held === undefined) return makeLock(kind, lock, rules);
  return isStale(held) && takeOver(kind, lock, held, rules);
}

/** Whether a lock's text names a process that is gone. */
export function isStale(text: string): boolean {
  const holder = parseLockText(text);
  return holder !== undefined && isGone(holder.owner);
}

/** Lets go of a lock. */
export function dropLock(lock: string): void {
  rmSync(lock, { force: true });
  forgetUnfinished(lock);
}

function takeOver(kind: FileKind, lock: string, stale: string, rules: FileRules): boolean {
  const digest = createHash('sha256')
    .update(`${basename(lock)}\n${stale}`)
    .digest('hex');
  const heir = join(dirname(lock), `.${digest.slice(0, HEIR_DIGITS)}.lock`);
  if (!takeNow(kind, heir, rules)) return false;
  try {
    if (readLockText(lock) !== stale) return false;
    return withOwnFile(kind, lock, rules, (own) => {
      passPoint(`${kind}.rename`, lock);
      renameSync(own, lock);
      return true;
    });
  } finally {
    dropLock(heir);
  }
}

function makeLock(kind: FileKind, lock: string, rules: FileRules): boolean {
  return withOwnFile(kind, lock, rules, (own) => {
    try {
      passPoint(`${kind}.link`, lock);
      linkSync(own, lock);
      return true;
    } catch (error) {
      if (systemCode(error) === 'EEXIST') return false;
      if (!NO_LINKS.has(systemCode(error) ?? '')) throw error;
      return makeWithoutLink(lock, rules);
    }
  });
}

/** For a moment such a lock says nothing, and a kill then leaves it so. */
function makeWithoutLink(lock: string, rules: FileRules): boolean {
  try {
    writeOwn(lock, rules);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Makes a temporary file beside the lock that names this process, and has `use` make the lock of it. */
function withOwnFile(kind: FileKind, lock: string, rules: FileRules, use: (own: string) => boolean): boolean {
  // Whoever lists refs passes over names that begin and end so.
  const own = join(dirname(lock), `.tmp_lock${randomOwnerSuffix()}.lock`);
  watchUnfinished(own);
  try {
    passPoint(`${kind}.create`, lock);
    writeOwn(own, rules);
    const taken = use(own);
    if (taken) watchUnfinished(lock);
    return taken;
  } catch (error) {
    throw fromSystem(error, lock);
  } finally {
    dropLock(own);
  }
}

function writeOwn(path: string, { sharing }: FileRules): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o666);
  try {
    shareFile(fd, path, sharing);
    writeSync(fd, ownLockText());
  } catch (error) {
    if (!NO_ROOM.has(systemCode(error) ?? '')) {
      rmSync(path, { force: true });
      throw error;
    }
    // What gives room back needs locks too: one that says nothing, as git's, takes none.
    ftruncateSync(fd, 0);
  } finally {
    closeSync(fd);
  }
}
