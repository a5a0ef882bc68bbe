import { mkdir, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fromSystem, isImgstoreError } from '../../errors/index.ts';
import { PendingFile, sharePath, syncFolder } from '../../files/index.ts';
import type { ObjectId } from '../id.ts';
import type { LooseObjects } from './folder.ts';

/** How many files are written and fsynced at a time; Node's thread pool has four threads. */
const PARALLEL = 8;

/** Permission bits of an object's file: nobody has a reason to write to it again. */
const OBJECT_MODE = 0o444;

/**
 * Loose objects that become visible together: all are written and fsynced under temporary names first, in parallel, so that
 * the file system can join their journal commits into few; then renamed; then their folders are fsynced, each once.
 */
export class LooseBatch {
  readonly #loose: LooseObjects;
  readonly #files: { readonly id: ObjectId; readonly file: PendingFile }[] = [];
  /** Fan-out folders that were not there before. */
  readonly #madeFolders = new Set<string>();

  constructor(loose: LooseObjects) {
    this.#loose = loose;
  }

  /** Writes the files (from {@link looseFromDeflated}) under temporary names. @throws ImgstoreError `IO`. */
  async write(objects: readonly { readonly id: ObjectId; readonly file: Uint8Array }[]): Promise<void> {
    await inParallel(objects, async ({ id, file: bytes }) => {
      const file = await this.#create(dirname(this.#loose.path(id)));
      this.#files.push({ id, file });
      await file.write(0, bytes);
      await file.sync();
    });
  }

  /** Gives the files their names. @throws ImgstoreError `IO`; what was renamed by then stays, as unreachable objects. */
  async publish(): Promise<void> {
    const folders = new Set<string>();
    for (const { id, file } of this.#files) {
      const path = this.#loose.path(id);
      // Another process may have stored the same object meanwhile: its file is as good as ours, unless it is damaged.
      if (this.#loose.hasWhole(id)) await file.discard();
      else await file.rename(path);
      folders.add(dirname(path));
    }
    this.#files.length = 0;
    await inParallel([...folders, this.#loose.folder], syncIfThere);
  }

  /** Removes what was not published, and the folders that were made for it. Never throws. */
  async discard(): Promise<void> {
    for (const { file } of this.#files) await file.discard();
    this.#files.length = 0;
    // One that has something in it stays: rmdir refuses.
    for (const folder of this.#madeFolders) await rmdir(folder).catch(() => {});
    this.#madeFolders.clear();
  }

  /** git removes fan-out folders that it has emptied: one may go between being made and being used. */
  async #create(folder: string, tries = 3): Promise<PendingFile> {
    try {
      const { sharing } = this.#loose.rules;
      if ((await mkdir(folder, { recursive: true })) !== undefined) {
        this.#madeFolders.add(folder);
        sharePath(folder, sharing);
      }
      return await PendingFile.create('loose', folder, { prefix: 'tmp_obj_', mode: OBJECT_MODE, sharing });
    } catch (error) {
      const failure = fromSystem(error, folder);
      if (tries > 1 && isImgstoreError(failure, 'NOT_FOUND')) return this.#create(folder, tries - 1);
      throw failure;
    }
  }
}

/** A folder that is gone was emptied by a repack, which has made the objects durable elsewhere. */
async function syncIfThere(folder: string): Promise<void> {
  try {
    await syncFolder('loose', folder);
  } catch (error) {
    if (!isImgstoreError(error, 'NOT_FOUND')) throw error;
  }
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item);
  };
  // All workers are waited for even when one fails, so that no file is made after the batch was discarded.
  const results = await Promise.allSettled(Array.from({ length: PARALLEL }, worker));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
