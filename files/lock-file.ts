import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { ImgstoreError } from '../errors/index.ts';
import { parseLockText, readLockText } from './lock-text.ts';
import { pause } from './pause.ts';
import { type FileKind, PendingFile, syncFolder } from './pending-file.ts';
import type { FileRules } from './rules.ts';
import { dropLock, isStale, takeNow } from './take-lock.ts';

/** How long a lock is waited for that is held for moments only. */
const DEFAULT_WAIT_MS = 1000;

const FIRST_PAUSE_MS = 5;
const MOST_PAUSE_MS = 100;

/**
 * git's lock: `<path>.lock`, which one process can make. Stock git and imgstore keep each other out of the same file this way.
 *
 * git writes the new content into the lock and renames that. Here the lock says all the while who has it, so that a process that was killed is known from it
 * at any moment; new content is renamed over the file from beside, and the lock goes after that.
 */
export class LockFile {
  /** The file that is locked. */
  readonly path: string;
  readonly #kind: FileKind;
  readonly #rules: FileRules;
  #held = true;

  private constructor(kind: FileKind, path: string, rules: FileRules) {
    this.#kind = kind;
    this.path = path;
    this.#rules = rules;
  }

  /**
   * Takes the lock, waiting for who holds it; one of a process that is gone is taken over.
   * @param defaultWaitMs how long, when the rules say nothing
   * @throws ImgstoreError `BUSY` when it is still held then, `INTERRUPTED`, `IO`
   */
  static async take(
    kind: FileKind,
    path: string,
    rules: FileRules = {},
    defaultWaitMs = DEFAULT_WAIT_MS,
  ): Promise<LockFile> {
    await waitUntil(path, rules, defaultWaitMs, (lock) => takeNow(kind, lock, rules));
    return new LockFile(kind, path, rules);
  }

  /**
   * Waits until nobody has the lock, or who has it is gone, without taking it: to be asked before long work that ends with it, so that a lock that will not go
   * shows first.
   * @throws ImgstoreError `BUSY` when it is still held then, `INTERRUPTED`, `IO`
   */
  static async waitUntilFree(path: string, rules: FileRules = {}): Promise<void> {
    await waitUntil(path, rules, DEFAULT_WAIT_MS, (lock) => {
      const held = readLockText(lock);
      return held === undefined || isStale(held);
    });
  }

  /** Removes the lock of a file when it was left by a process that is gone. @throws ImgstoreError `IO` */
  static async removeStale(kind: FileKind, path: string): Promise<void> {
    const held = readLockText(`${path}.lock`);
    if (held !== undefined && isStale(held) && takeNow(kind, `${path}.lock`, {}))
      await new LockFile(kind, path, {}).release();
  }

  /**
   * Replaces the locked file's content, lasting, and lets go.
   * @param mode permission bits before the umask
   * @throws ImgstoreError `IO`; the lock is still held then unless the file is replaced.
   */
  async commit(bytes: Uint8Array, mode?: number): Promise<void> {
    const folder = dirname(this.path);
    // git passes over names with a dot in front, also among refs, and so does whoever lists refs here.
    const options = {
      prefix: '.tmp_',
      ending: '.lock',
      label: this.path,
      sharing: this.#rules.sharing,
      ...(mode === undefined ? {} : { mode }),
    };
    const file = await PendingFile.create(this.#kind, folder, options);
    try {
      await file.write(0, bytes);
      await file.sync();
      await file.rename(this.path);
    } catch (error) {
      await file.discard();
      throw error;
    }
    await this.release();
    await syncFolder(this.#kind, folder);
  }

  /** Lets go without a change; does nothing after {@link LockFile.commit}. Never throws. */
  release(): Promise<void> {
    if (this.#held) {
      this.#held = false;
      try {
        dropLock(`${this.path}.lock`);
      } catch {
        // stays under watch: the exit handler tries once more
      }
    }
    return Promise.resolve();
  }
}

async function waitUntil(
  path: string,
  { lockWaitMs, signal }: FileRules,
  defaultWaitMs: number,
  isDone: (lock: string) => boolean,
): Promise<void> {
  const lock = `${path}.lock`;
  const giveUp = performance.now() + (lockWaitMs ?? defaultWaitMs);
  const interrupted = () =>
    new ImgstoreError('INTERRUPTED', `${path}: interrupted while waiting for its lock`, { path });
  for (let ms = FIRST_PAUSE_MS; !isDone(lock); ms = Math.min(ms * 2, MOST_PAUSE_MS)) {
    const left = giveUp - performance.now();
    if (left <= 0) throw busy(path, lock);
    await pause(Math.min(ms, left), signal, interrupted);
  }
}

function busy(path: string, lock: string): ImgstoreError {
  const stats = statSync(lock, { throwIfNoEntry: false });
  const age =
    stats === undefined ? '' : ` for ${Math.max(0, Math.round((Date.now() - stats.mtimeMs) / 1000))} s`;
  const holder = parseLockText(readLockText(lock) ?? '');
  if (holder === undefined) {
    const message = `${path}: locked${age} by another process: try again, or wait with --lock-timeout; if none is running, remove ${lock}`;
    return new ImgstoreError('BUSY', message, { path, lock });
  }
  const { owner, task } = holder;
  const who = `process ${owner.pid} on ${owner.host}${task === undefined ? '' : ` (${task})`}`;
  return new ImgstoreError(
    'BUSY',
    `${path}: locked${age} by ${who}: try again, or wait with --lock-timeout; if it is not running, remove ${lock}`,
    { path, lock, pid: owner.pid, host: owner.host },
  );
}
