import { closeSync, constants, existsSync, openSync, writeSync } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromSystem, ImgstoreError, systemCode } from '../errors/index.ts';
import { type FileKind, syncFolder } from './pending-file.ts';
import { passPoint } from './points.ts';
import { forgetUnfinished, watchUnfinished } from './temporary.ts';

/**
 * git's lock: `<path>.lock`, made with O_EXCL, so one process has it; it takes the new content and is renamed over `path`.
 * Stock git and imgstore keep each other out of the same file this way.
 */
export class LockFile {
  /** The file that is locked. */
  readonly path: string;
  readonly #kind: FileKind;
  #held = true;

  private constructor(kind: FileKind, path: string) {
    this.#kind = kind;
    this.path = path;
  }

  /**
   * Takes the lock, waiting up to `waitMs` for who holds it.
   * @param note written into the lock for others to read, by default nothing, as git's are empty until they are committed
   * @throws ImgstoreError `BUSY` when it is still held then.
   */
  static async take(kind: FileKind, path: string, waitMs = 1000, note = ''): Promise<LockFile> {
    const lock = `${path}.lock`;
    const giveUp = Date.now() + waitMs;
    for (let pause = 5; ; pause = Math.min(pause * 2, 100)) {
      try {
        passPoint(`${kind}.create`, lock);
        // Synchronous, so that no exit can come between making the lock and knowing that it is ours to remove.
        const fd = openSync(lock, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o666);
        watchUnfinished(lock);
        const taken = new LockFile(kind, path);
        await taken.#write(fd, note);
        return taken;
      } catch (error) {
        if (systemCode(error) !== 'EEXIST') throw fromSystem(error, lock);
      }
      if (Date.now() >= giveUp) throw await busy(path, lock);
      await sleep(pause);
    }
  }

  /**
   * Waits up to `waitMs` until nobody has the lock, without taking it: to be asked before long work that ends with it, so that a lock which a kill has left
   * shows first.
   * @throws ImgstoreError `BUSY` when it is still held then.
   */
  static async waitUntilFree(path: string, waitMs = 1000): Promise<void> {
    const lock = `${path}.lock`;
    const giveUp = Date.now() + waitMs;
    while (existsSync(lock)) {
      if (Date.now() >= giveUp) throw await busy(path, lock);
      await sleep(50);
    }
  }

  async #write(fd: number, note: string): Promise<void> {
    try {
      writeSync(fd, note);
    } catch (error) {
      await this.release();
      throw error;
    } finally {
      closeSync(fd);
    }
  }

  /** Replaces the locked file's content, lasting, and lets go. */
  async commit(bytes: Uint8Array): Promise<void> {
    const lock = `${this.path}.lock`;
    try {
      const handle = await open(lock, constants.O_WRONLY);
      try {
        passPoint(`${this.#kind}.write`, lock, { bytes, offset: 0 });
        await handle.writeFile(bytes);
        passPoint(`${this.#kind}.fsync`, lock);
        await handle.sync();
      } finally {
        await handle.close();
      }
      passPoint(`${this.#kind}.rename`, this.path);
      await rename(lock, this.path);
      this.#held = false;
      forgetUnfinished(lock);
    } catch (error) {
      throw fromSystem(error, this.path);
    }
    await syncFolder(this.#kind, dirname(this.path));
  }

  /** Lets go without a change; does nothing after {@link LockFile.commit}. Never throws. */
  async release(): Promise<void> {
    if (!this.#held) return;
    this.#held = false;
    const lock = `${this.path}.lock`;
    await rm(lock, { force: true }).catch(() => {});
    forgetUnfinished(lock);
  }
}

async function busy(path: string, lock: string): Promise<ImgstoreError> {
  const age = await stat(lock).then(
    (stats) => ` for ${Math.max(0, Math.round((Date.now() - stats.mtimeMs) / 1000))} s`,
    () => '',
  );
  return new ImgstoreError(
    'BUSY',
    `${path}: locked${age} by another process: try again; if none is running, remove ${lock}`,
    { path, lock },
  );
}
