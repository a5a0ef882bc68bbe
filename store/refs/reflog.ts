import { statSync } from 'node:fs';
import { type FileHandle, open, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fromSystem, isImgstoreError, systemCode } from '../../errors/index.ts';
import {
  type FileRules,
  LockFile,
  makeInFolder,
  passPoint,
  shareFile,
  syncFolder,
} from '../../files/index.ts';
import { encodePerson, type ObjectId, type Person, parsePerson } from '../../objects/index.ts';

/** One move of a ref. */
export interface ReflogEntry {
  readonly before: ObjectId;
  readonly after: ObjectId;
  readonly person: Person;
  readonly message: string;
}

const LINE_PATTERN = /^([0-9a-f]{64}) ([0-9a-f]{64}) ([^\t]*)(?:\t(.*))?$/;
const LINE_END = 0x0a;
/** `refs/heads`: what stands above all names. */
const REF_KIND_PARTS = 2;

/** The logs of a store's refs, in git's format, one file a ref below `logs/`; the newest line is the last. */
export class Reflogs {
  readonly #folder: string;

  readonly #rules: FileRules;

  /**
   * @param storeFolder the store; the logs are in its `logs/`
   * @param rules how files are made and locked
   */
  constructor(storeFolder: string, rules: FileRules) {
    this.#folder = join(storeFolder, 'logs');
    this.#rules = rules;
  }

  /** Adds a line, lasting. @throws ImgstoreError `IO`. */
  async append(ref: string, entry: ReflogEntry): Promise<void> {
    const path = join(this.#folder, ref);
    try {
      const handle = await makeInFolder('reflog', path, () => open(path, 'a+'), this.#rules);
      try {
        const { size } = await handle.stat();
        if (size === 0) shareFile(handle.fd, path, this.#rules.sharing);
        // A line that was cut off must not take the new one with it.
        const start = size > 0 && (await lastByte(handle, size)) !== LINE_END ? '\n' : '';
        const bytes = Buffer.from(start + encodeEntry(entry));
        passPoint('reflog.write', path, { bytes, offset: undefined });
        await handle.appendFile(bytes);
        passPoint('reflog.fsync', path);
        await handle.sync();
        if (size === 0) await syncFolder('reflog', dirname(path));
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw fromSystem(error, path);
    }
  }

  /** All lines, oldest first; none when there is no log. @throws ImgstoreError `IO`. */
  async read(ref: string): Promise<ReflogEntry[]> {
    const path = join(this.#folder, ref);
    try {
      return (await readFile(path, 'utf8')).split('\n').flatMap((line) => parseReflogLine(line) ?? []);
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes(systemCode(error) ?? '')) return [];
      throw fromSystem(error, path);
    }
  }

  /** The refs that have a log, by name. @throws ImgstoreError `IO`. */
  async list(folder = ''): Promise<string[]> {
    const path = join(this.#folder, folder);
    try {
      const names: string[] = [];
      for (const entry of await readdir(path, { withFileTypes: true })) {
        const name = join(folder, entry.name);
        if (entry.isDirectory()) names.push(...(await this.list(name)));
        else if (!name.endsWith('.lock')) names.push(name);
      }
      return names.sort();
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [];
      throw fromSystem(error, path);
    }
  }

  /** Makes these lines the whole log of a ref, at once. @throws ImgstoreError `IO`, `BUSY`. */
  async replace(ref: string, entries: readonly ReflogEntry[]): Promise<void> {
    const path = join(this.#folder, ref);
    const lock = await makeInFolder(
      'reflog',
      path,
      () => LockFile.take('reflog', path, this.#rules),
      this.#rules,
    );
    try {
      await lock.commit(Buffer.from(entries.map(encodeEntry).join('')));
    } finally {
      await lock.release();
    }
  }

  /**
   * Removes logs that a new ref's cannot stand beside: of `a` for `a/b`, and the other way round. Their refs have gone, or the new one could not be made:
   * a kill came before they were removed too.
   */
  async clearWay(ref: string): Promise<void> {
    const parts = ref.split('/');
    for (let count = REF_KIND_PARTS + 1; count < parts.length; count++) {
      const above = parts.slice(0, count).join('/');
      if (this.#is(above)?.isFile()) await this.remove(above);
    }
    if (this.#is(ref)?.isDirectory()) await this.remove(ref);
  }

  #is(ref: string) {
    return statSync(join(this.#folder, ref), { throwIfNoEntry: false });
  }

  /** Removes the log of a ref that is no more. @throws ImgstoreError `IO`. */
  async remove(ref: string): Promise<void> {
    const path = join(this.#folder, ref);
    try {
      passPoint('reflog.remove', path);
      await rm(path, { force: true, recursive: true });
    } catch (error) {
      throw fromSystem(error, path);
    }
  }
}

function encodeEntry({ before, after, person, message }: ReflogEntry): string {
  return `${before} ${after} ${encodePerson(person)}\t${message.replace(/\s+/g, ' ').trim()}\n`;
}

/** Undefined for a line that is none: it was cut off by a full disk or a kill, and git passes over it too. */
export function parseReflogLine(line: string): ReflogEntry | undefined {
  const match = LINE_PATTERN.exec(line);
  if (match === null) return undefined;
  const [, before, after, person, message] = match;
  try {
    return { before: before!, after: after!, person: parsePerson(person!), message: message ?? '' };
  } catch (error) {
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
}

async function lastByte(handle: FileHandle, size: number): Promise<number | undefined> {
  return (await handle.read(Buffer.alloc(1), 0, 1, size - 1)).buffer[0];
}
