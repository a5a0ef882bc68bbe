import { lstat, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { usedByQemu } from '../../block/index.ts';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';
import { PendingFile, removeLeftBehindIn } from '../../files/index.ts';
import { SETTLE_MS } from '../stat-cache.ts';

export interface OutputOptions {
  /** Replaces a file that is in the way. */
  readonly force: boolean;
  readonly readOnly: boolean;
}

/** A new file that is complete under a temporary name beside its place. */
export interface OutputFile {
  /** When it was written last: nanoseconds since 1970. A later write by anybody changes it. */
  readonly mtimeNs: bigint;
  /** Gives it its name. @throws ImgstoreError `EXISTS` unless forced, `IN_USE` when a QEMU has the file open, `IO` */
  readonly publish: () => Promise<void>;
  /** Removes it, if it has no name yet. Never throws. */
  readonly discard: () => Promise<void>;
}

/**
 * Writes a new file by `write` under a temporary name, so that there is never a part of one under its own.
 * It is not fsynced: its bytes are in the store.
 * @throws ImgstoreError `IO`, and what `write` throws; the temporary file is then gone
 */
export async function writeOutputFile(
  path: string,
  { force, readOnly }: OutputOptions,
  write: (file: PendingFile) => Promise<void>,
): Promise<OutputFile> {
  const file = await createBeside(path, readOnly ? 0o444 : 0o666);
  try {
    await write(file);
    const mtimeNs = await file.mtimeNs();
    // While it has no name nobody else can write to it: past this tick of the clock, every other write shows in its times.
    await sleep(SETTLE_MS);
    return { mtimeNs, publish: () => publish(file, path, force), discard: () => file.discard() };
  } catch (error) {
    await file.discard();
    throw error;
  }
}

async function publish(file: PendingFile, path: string, force: boolean): Promise<void> {
  await refuseTaken(path, force);
  try {
    await (force ? file.rename(path) : file.claim(path));
  } catch (error) {
    // Something came in this moment.
    if (error instanceof ImgstoreError && error.data.system === 'EEXIST') await refuseTaken(path, force);
    throw error;
  }
}

/** Characters of the name that go into the temporary one, which must not be longer than a name can be: they may have 4 bytes each. */
const MOST_PREFIX = 40;

async function createBeside(path: string, mode: number): Promise<PendingFile> {
  const folder = dirname(resolve(path));
  try {
    if (!(await stat(folder)).isDirectory())
      throw new ImgstoreError('IO', `${folder}: is no folder`, { path: folder });
    const prefix = `.${Array.from(basename(path)).slice(0, MOST_PREFIX).join('')}.tmp_`;
    await removeLeftBehindIn('checkout', folder, prefix);
    return await PendingFile.create('checkout', folder, { prefix, mode, label: path });
  } catch (error) {
    throw fromSystem(error, folder);
  }
}

/** Refuses a place for a new file where something is that must stay. @throws ImgstoreError `EXISTS`, `IN_USE`, `IO` */
export async function refuseTaken(path: string, force: boolean): Promise<void> {
  try {
    const stats = await lstat(path);
    if (stats.isDirectory()) throw new ImgstoreError('EXISTS', `${path}: is a folder: name a file`, { path });
    if (!stats.isFile() && !(stats.isSymbolicLink() && (await leadsToFileOrNothing(path))))
      throw new ImgstoreError('EXISTS', `${path}: is not a regular file`, { path });
    if (!force) {
      throw new ImgstoreError(
        'EXISTS',
        `${path}: exists already: choose another name, or pass --force to replace it`,
        { path },
      );
    }
    // The machine would go on with the file that has no name any more, and all that it writes would be lost.
    if ((await usedByQemu(path)) !== undefined) {
      throw new ImgstoreError('IN_USE', `${path}: a running QEMU has it open: stop the machine first`, {
        path,
      });
    }
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fromSystem(error, path);
  }
}

/** A link is replaced itself, which must not happen to /dev/stdout or the name of a disk below /dev/disk. */
async function leadsToFileOrNothing(link: string): Promise<boolean> {
  try {
    return (await stat(link)).isFile();
  } catch (error) {
    if (['ENOENT', 'ELOOP'].includes(systemCode(error) ?? '')) return true;
    throw error;
  }
}
