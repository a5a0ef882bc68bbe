import { chmod, mkdir, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fromSystem, systemCode } from '../../errors/index.ts';
import { randomOwnerSuffix } from '../../files/index.ts';
import {
  codecs,
  FAN_OUT_DIGITS,
  LooseObjects,
  looseFromDeflated,
  type ObjectId,
} from '../../objects/index.ts';
import type { ReadObject } from './entry-reader.ts';

/** Folders among which ids spread evenly. */
const FOLDERS = 256;
/** So far is a folder emptied when it is too full, that not every cluster is a reason to look through it. */
const SHARE_LEFT = 0.9;
/** How exact it is known when a file was used last. */
const USE_TICK_MS = 60 * 60 * 1000;
/** What a process has asked for may not have been read yet. */
const IN_USE_MS = 60 * 1000;

const FASTEST = 1;

/**
 * Copies of objects that a bucket has, as loose objects in a folder of their own, of a bounded size: of what was used longest ago, as far as is known, some goes. Nothing is lost with it, so nothing is fsynced;
 * who reads a copy checks it against its id.
 */
export class ClusterStore {
  readonly loose: LooseObjects;
  readonly #mostBytes: number;
  /** Bytes in the folders that this process has written to. */
  readonly #filled = new Map<string, number>();

  /** @param mostBytes of all files together, in proportion for each of 256 folders */
  constructor(folder: string, mostBytes: number) {
    this.loose = new LooseObjects(folder);
    this.#mostBytes = mostBytes;
  }

  /** Whether there is a copy; it then counts as used. @throws ImgstoreError `IO`. */
  async use(id: ObjectId): Promise<boolean> {
    const path = this.loose.path(id);
    const now = Date.now();
    try {
      const { size, mtimeMs } = await stat(path);
      if (size === 0) return false;
      // Another user's file stays as old as it is.
      if (now - mtimeMs > USE_TICK_MS) await utimes(path, now / 1000, now / 1000).catch(() => {});
      return true;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return false;
      throw fromSystem(error, path);
    }
  }

  /** Keeps an object. @throws ImgstoreError `IO`. */
  async put({ id, type, data, deflated }: ReadObject): Promise<void> {
    const path = this.loose.path(id);
    const folder = dirname(path);
    const file = looseFromDeflated(type, data.length, deflated ?? codecs().deflate.deflate(data, FASTEST));
    const temporary = join(folder, `tmp_obj_${randomOwnerSuffix()}`);
    try {
      await mkdir(folder, { recursive: true });
      await writeFile(temporary, file);
      await chmod(temporary, 0o444);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      throw fromSystem(error, path);
    }
    await this.#makeRoom(id.slice(0, FAN_OUT_DIGITS), folder, file.length);
  }

  /** Takes a copy out, because it is damaged. */
  async drop(id: ObjectId): Promise<void> {
    await rm(this.loose.path(id), { force: true });
  }

  async #makeRoom(name: string, folder: string, added: number): Promise<void> {
    const most = this.#mostBytes / FOLDERS;
    const filled = this.#filled.get(name);
    if (filled !== undefined && filled + added <= most) {
      this.#filled.set(name, filled + added);
      return;
    }
    const files = await filesIn(folder);
    let bytes = files.reduce((sum, { size }) => sum + size, 0);
    if (bytes > most) {
      for (const { path, size, mtimeMs } of files.toSorted((a, b) => a.mtimeMs - b.mtimeMs)) {
        if (bytes <= most * SHARE_LEFT || Date.now() - mtimeMs < IN_USE_MS) break;
        await rm(path, { force: true });
        bytes -= size;
      }
    }
    this.#filled.set(name, bytes);
  }
}

async function filesIn(folder: string) {
  const files: { readonly path: string; readonly size: number; readonly mtimeMs: number }[] = [];
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const stats = await stat(path).catch(() => undefined);
    if (stats !== undefined) files.push({ path, size: stats.size, mtimeMs: stats.mtimeMs });
  }
  return files;
}
