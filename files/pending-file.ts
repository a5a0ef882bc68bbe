import { closeSync, constants, openSync, readSync } from 'node:fs';
import { type FileHandle, link, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fromSystem, systemCode } from '../errors/index.ts';
import { randomOwnerSuffix } from './owner.ts';
import { type PointName, passPoint } from './points.ts';
import { type Sharing, shareFile } from './sharing.ts';
import { forgetUnfinished, watchUnfinished } from './temporary.ts';

/** What kind of file this is, the first half of the names of its points: `loose`, `pack`, `index`, … */
export type FileKind = string;

export interface PendingFileOptions {
  /**
   * What the temporary name begins with, before the kind and who makes it; git removes what begins with `tmp_` beside its packs, and with `tmp_obj_` beside loose
   * objects.
   */
  readonly prefix?: string;
  /** What the temporary name ends with. */
  readonly ending?: string;
  /** Permission bits before the umask; git makes objects read-only. */
  readonly mode?: number;
  /** Who else may use the file. */
  readonly sharing?: Sharing | undefined;
  /** What errors name, instead of the temporary path. */
  readonly label?: string;
}

/** What link(2) fails with where the file system (FAT, some network and FUSE ones) or its server has none, or no more. */
export const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK']);

/**
 * A file that is being written under a temporary name in the folder where it will live: written, fsynced, then renamed into
 * place, so that nobody ever sees a part of it.
 *
 * A failure at any step leaves the temporary file to {@link PendingFile.discard}.
 */
export class PendingFile {
  readonly kind: FileKind;
  /** The temporary path. */
  readonly path: string;
  readonly #label: string;
  readonly #handle: FileHandle;
  #open = true;
  /** A sending of written bytes to the disk that is under way. */
  #sending: Promise<void> | undefined;
  /** Why one failed: the system tells of it once, and the next fsync may succeed. */
  #sendingFailure: unknown;

  private constructor(kind: FileKind, path: string, label: string, handle: FileHandle) {
    this.kind = kind;
    this.path = path;
    this.#label = label;
    this.#handle = handle;
  }

  /** Makes the temporary file in `folder`. @throws ImgstoreError `IO`. */
  static async create(
    kind: FileKind,
    folder: string,
    options: PendingFileOptions = {},
  ): Promise<PendingFile> {
    const path = join(
      folder,
      `${options.prefix ?? 'tmp_'}${kind}${randomOwnerSuffix()}${options.ending ?? ''}`,
    );
    const label = options.label ?? path;
    watchUnfinished(path);
    try {
      passPoint(`${kind}.create`, path);
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
      const handle = await open(path, flags, options.mode ?? 0o666);
      const file = new PendingFile(kind, path, label, handle);
      try {
        shareFile(handle.fd, label, options.sharing);
      } catch (error) {
        await file.discard();
        throw error;
      }
      return file;
    } catch (error) {
      forgetUnfinished(path);
      throw fromSystem(error, label);
    }
  }

  /** The descriptor: worker threads write through it at offsets of their own. */
  get fd(): number {
    return this.#handle.fd;
  }

  /** Writes all of `bytes` at `offset`. @throws ImgstoreError `IO` (no space, …). */
  async write(offset: number, bytes: Uint8Array): Promise<void> {
    try {
      passPoint(`${this.kind}.write`, this.path, { bytes, offset });
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, offset + done);
        done += bytesWritten;
      }
    } catch (error) {
      throw fromSystem(error, this.#label);
    }
  }

  /** Reads back what was written. Returns the number of bytes read, less than asked for only at the end. */
  read(offset: number, into: Uint8Array): number {
    try {
      return readSync(this.#handle.fd, into, 0, into.length, offset);
    } catch (error) {
      throw fromSystem(error, this.#label);
    }
  }

  /** Sets the length; what was never written reads as zeros and takes no room. */
  async truncate(size: number): Promise<void> {
    try {
      passPoint(`${this.kind}.write`, this.path);
      await this.#handle.truncate(size);
    } catch (error) {
      throw fromSystem(error, this.#label);
    }
  }

  /** When it was written last: nanoseconds since 1970. */
  async mtimeNs(): Promise<bigint> {
    return (await this.#handle.stat({ bigint: true })).mtimeNs;
  }

  /** Begins to send what was written to the disk, so that less is left for {@link PendingFile.sync}, where a failure shows. */
  beginSync(): void {
    this.#sending ??= this.#handle.datasync().then(
      () => {
        this.#sending = undefined;
      },
      (error: unknown) => {
        this.#sending = undefined;
        this.#sendingFailure ??= error;
      },
    );
  }

  /** Makes what was written last through a power failure. */
  async sync(): Promise<void> {
    try {
      await this.#sending;
      if (this.#sendingFailure !== undefined) throw this.#sendingFailure;
      passPoint(`${this.kind}.fsync`, this.path);
      await this.#handle.sync();
    } catch (error) {
      throw fromSystem(error, this.#label);
    }
  }

  /**
   * Gives the file its name, over whatever has it. The caller fsyncs the file before and its folder after, once for many files.
   */
  async rename(path: string): Promise<void> {
    await this.#close();
    try {
      passPoint(`${this.kind}.rename`, path);
      await rename(this.path, path);
      forgetUnfinished(this.path);
    } catch (error) {
      throw fromSystem(error, path);
    }
  }

  /**
   * Gives the file its name, unless something has it: link(2) and unlink(2), since rename(2) replaces what came meanwhile. Where the file
   * system has no links the name is taken by an empty file first, which the rename then replaces.
   * @throws ImgstoreError `IO`, with `EEXIST` as `system` when something has the name.
   */
  async claim(path: string): Promise<void> {
    await this.#close();
    try {
      passPoint(`${this.kind}.link`, path);
      await link(this.path, path);
      // The file has its name now; a second one that cannot be removed is tried again at exit.
      await this.discard();
    } catch (error) {
      if (!NO_LINKS.has(systemCode(error) ?? '')) throw fromSystem(error, path);
      await this.#renameOverPlaceholder(path);
    }
  }

  async #renameOverPlaceholder(path: string): Promise<void> {
    try {
      // Synchronous, so that no exit can come between making the file and knowing that it is ours to remove.
      closeSync(openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600));
    } catch (error) {
      throw fromSystem(error, path);
    }
    watchUnfinished(path);
    try {
      await this.rename(path);
    } catch (error) {
      await rm(path, { force: true }).catch(() => {});
      throw error;
    } finally {
      forgetUnfinished(path);
    }
  }

  /** Removes the temporary file, if it still is one. Never throws: it runs on the way out of a failure. */
  async discard(): Promise<void> {
    try {
      await this.#close();
      await rm(this.path, { force: true });
      forgetUnfinished(this.path);
    } catch {
      // stays under watch: the exit handler tries once more
    }
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#sending;
    await this.#handle.close();
  }
}

/**
 * Makes renames and removals in a folder last through a power failure.
 * @param kind names the point, as in {@link PendingFile}
 */
export function syncFolder(kind: FileKind, path: string): Promise<void> {
  return syncAt(`${kind}.fsync-folder`, path);
}

/**
 * Makes what somebody else has written to a file last through a power failure.
 * @param kind names the point, as in {@link PendingFile}
 * @throws ImgstoreError `NOT_FOUND`, `IO`
 */
export function syncFile(kind: FileKind, path: string): Promise<void> {
  return syncAt(`${kind}.fsync`, path);
}

/** Writes a whole file so that readers see the old one or the new one and nothing between. */
export async function writeWholeFile(
  kind: FileKind,
  path: string,
  bytes: Uint8Array,
  sharing?: Sharing,
): Promise<void> {
  await replace(kind, path, bytes, { sharing, lasting: true });
  await syncFolder(kind, dirname(path));
}

/** As {@link writeWholeFile}, for what may be lost in a power failure: then the file may be the old one, or empty. */
export function replaceFile(
  kind: FileKind,
  path: string,
  bytes: Uint8Array,
  sharing?: Sharing,
): Promise<void> {
  return replace(kind, path, bytes, { sharing, lasting: false });
}

async function replace(
  kind: FileKind,
  path: string,
  bytes: Uint8Array,
  { sharing, lasting }: { readonly sharing: Sharing | undefined; readonly lasting: boolean },
): Promise<void> {
  const file = await PendingFile.create(kind, dirname(path), { sharing });
  try {
    await file.write(0, bytes);
    if (lasting) await file.sync();
    await file.rename(path);
  } catch (error) {
    await file.discard();
    throw error;
  }
}

async function syncAt(point: PointName, path: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    passPoint(point, path);
    handle = await open(path, constants.O_RDONLY);
    await handle.sync();
  } catch (error) {
    throw fromSystem(error, path);
  } finally {
    await handle?.close();
  }
}
