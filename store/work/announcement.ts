import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fromSystem, isImgstoreError, systemCode } from '../../errors/index.ts';
import {
  encodeOwner,
  type FileRules,
  forgetUnfinished,
  isGone,
  type Owner,
  parseOwner,
  passPoint,
  randomOwnerSuffix,
  shareFile,
  sharePath,
  thisProcess,
  watchUnfinished,
} from '../../files/index.ts';
import { isId, type ObjectId } from '../../objects/index.ts';

const FOLDER = 'work';

/** A file that says nothing was left by a full disk or a kill, unless it is as young as this: somebody is writing it. */
const MOST_SILENT_MS = 60_000;

/** What making a file fails with in a store that is for reading only. */
const NO_RIGHT: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EROFS']);

/** What a process is doing with a store just now. */
export interface AnnouncedWork {
  /** When it began, by the clock of the file system: ms since 1970. */
  readonly sinceMs: number;
  /** Whether it stores objects: what it has stored, or means to use again, is younger than its announcement, and no ref leads there yet. */
  readonly writes: boolean;
  /** Versions that it reads or builds on. */
  readonly roots: readonly ObjectId[];
  /** The file that says so. */
  readonly path: string;
  /** Undefined while the file is being written. */
  readonly owner: Owner | undefined;
}

/**
 * Says that this process is at work on a store, so that `gc` leaves alone what it needs: a file in `imgstore/work`, with the process, `writes` or `reads`, and ids, a line
 * each. It goes with the process's end, and that of a killed process counts for nothing.
 */
export class Announcement {
  /** When it was made, by the clock of the file system: ms since 1970. */
  readonly sinceMs: number;
  readonly #path: string;
  readonly #madeMs = performance.now();

  private constructor(path: string) {
    this.#path = path;
    this.sinceMs = statSync(path).mtimeMs;
  }

  /**
   * @param storeFolder the store
   * @param rules how its files are made
   * @throws ImgstoreError `IO`
   */
  static make(
    storeFolder: string,
    { sharing }: FileRules,
    kind: 'reads' | 'writes',
    roots: readonly ObjectId[] = [],
  ): Announcement {
    const folder = join(storeFolder, 'imgstore', FOLDER);
    const path = join(folder, `${kind}${randomOwnerSuffix()}`);
    try {
      passPoint('work.create', path);
      if (mkdirSync(folder, { recursive: true }) !== undefined) {
        sharePath(dirname(folder), sharing);
        sharePath(folder, sharing);
      }
      const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o666);
      watchUnfinished(path);
      try {
        shareFile(fd, path, sharing);
        writeSync(fd, [encodeOwner(thisProcess()).trimEnd(), kind, ...roots, ''].join('\n'));
      } finally {
        closeSync(fd);
      }
      return new Announcement(path);
    } catch (error) {
      remove(path);
      throw fromSystem(error, path);
    }
  }

  /** As {@link Announcement.make} for a reader, who may have no right to write in the store: undefined then. */
  static ofReader(
    storeFolder: string,
    rules: FileRules,
    roots: readonly ObjectId[],
  ): Announcement | undefined {
    try {
      return Announcement.make(storeFolder, rules, 'reads', roots);
    } catch (error) {
      if (isImgstoreError(error) && NO_RIGHT.has(String(error.data.system))) return undefined;
      throw error;
    }
  }

  /** The time by the clock of the file system, as far as this process can tell: ms since 1970, and never before the announcement. */
  now(): number {
    // One more, as times of files are set in whole microseconds or coarser, and must not fall behind.
    return this.sinceMs + (performance.now() - this.#madeMs) + 1;
  }

  /** Takes it back: refs lead to what was stored, or it was given up. Never throws. */
  withdraw(): void {
    remove(this.#path);
  }
}

/** What processes are doing with a store; what dead ones have left behind is removed. @throws ImgstoreError `IO`. */
export function listWork(storeFolder: string): AnnouncedWork[] {
  const folder = join(storeFolder, 'imgstore', FOLDER);
  try {
    return readdirSync(folder).flatMap((name) => readWork(join(folder, name)) ?? []);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw fromSystem(error, folder);
  }
}

function readWork(path: string): AnnouncedWork | undefined {
  try {
    const [first, kind, ...lines] = readFileSync(path, 'latin1').split('\n');
    const { mtimeMs } = statSync(path);
    const owner = parseOwner(`${first}\n`);
    if (owner === undefined ? Date.now() - mtimeMs > MOST_SILENT_MS : isGone(owner)) {
      rmSync(path, { force: true });
      return undefined;
    }
    return { sinceMs: mtimeMs, writes: kind !== 'reads', roots: lines.filter(isId), path, owner };
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw fromSystem(error, path);
  }
}

function remove(path: string): void {
  try {
    rmSync(path, { force: true });
    forgetUnfinished(path);
  } catch {
    // stays under watch: the exit handler tries once more
  }
}
