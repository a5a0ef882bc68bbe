import { existsSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';
import { type FileRules, LockFile, makeInFolder, passPoint, syncFolder } from '../../files/index.ts';
import { NULL_ID, type ObjectId, type Person } from '../../objects/index.ts';
import { removeEmptyFolders, removeEmptyTree } from './empty-folders.ts';
import { newRefFault, refNameFault, shortRefName, TAGS } from './name.ts';
import { type RefEnd, RefFiles } from './ref-files.ts';
import { type ReflogEntry, Reflogs } from './reflog.ts';

/** A ref and the object it names. */
export interface Ref {
  /** Full name: `refs/heads/web`. */
  readonly name: string;
  readonly id: ObjectId;
}

/** All refs of a kind: those that can be read, and what is wrong with the others. */
export interface RefSurvey {
  readonly refs: readonly Ref[];
  readonly unreadable: readonly { readonly name: string; readonly fault: ImgstoreError }[];
}

/** A move of a ref, which happens only when the ref is still where the caller saw it. */
export interface RefUpdate {
  /** Symbolic refs are followed, but for a removal. */
  readonly name: string;
  /** {@link NULL_ID}: the ref must not exist. Undefined: wherever it is, also when it cannot be read. */
  readonly before: ObjectId | undefined;
  /** {@link NULL_ID} removes the ref. */
  readonly after: ObjectId;
  /** For the reflog. */
  readonly person: Person;
  readonly message: string;
}

/** How a ref is moved, where that is not what a commit needs. */
export interface MoveOptions {
  /** Lines that become the ref's log, before that of the move itself. */
  readonly history?: readonly ReflogEntry[];
  /** Replaces a symbolic ref instead of moving what it leads to. */
  readonly replaceSymbolic?: boolean;
}

/** Makes sure that an object, and all that it leads to, is there when `move` makes a ref lead to it. */
export interface MoveGuard {
  moveTo(id: ObjectId, move: () => Promise<void>): Promise<void>;
}

/** The refs of a store: files below `refs/`, `packed-refs`, and `HEAD`. */
export class Refs {
  readonly logs: Reflogs;
  readonly #files: RefFiles;
  readonly #guard: MoveGuard;

  readonly #rules: FileRules;

  /**
   * @param storeFolder the store
   * @param rules how files are made and locked
   * @param guard has the last word before a ref leads to an object
   */
  constructor(
    storeFolder: string,
    rules: FileRules = {},
    guard: MoveGuard = { moveTo: (_, move) => move() },
  ) {
    this.#guard = guard;
    this.#rules = rules;
    this.#files = new RefFiles(storeFolder, rules);
    this.logs = new Reflogs(storeFolder, rules);
  }

  /** Where a ref leads, symbolic ones followed; undefined when it does not exist. @throws ImgstoreError `DAMAGED`, `IO`. */
  async resolve(name: string): Promise<ObjectId | undefined> {
    const { id, fault } = await this.#files.follow(name);
    if (fault !== undefined) throw fault;
    return id;
  }

  /** Where a ref leads and by which way; a fault is part of the answer. */
  follow(name: string): Promise<RefEnd> {
    return this.#files.follow(name);
  }

  /**
   * The ref that a symbolic ref names (`HEAD` → `refs/heads/web`), whether that exists or not.
   * @throws ImgstoreError `DAMAGED`, `IO`
   */
  symbolicTarget(name: string): Promise<string | undefined> {
    return this.#files.symbolicTarget(name);
  }

  /** Points a symbolic ref at another ref. */
  setSymbolic(name: string, target: string): Promise<void> {
    return this.#files.writeSymbolic(name, target);
  }

  /** The refs whose names begin with `prefix` (`refs/heads/`), by name. Those that cannot be read are left out: see {@link Refs.survey}. */
  async list(prefix = 'refs/'): Promise<readonly Ref[]> {
    return (await this.survey(prefix)).refs;
  }

  /** All refs whose names begin with `prefix`, by name. @throws ImgstoreError `DAMAGED` for a line of `packed-refs`, `IO`. */
  async survey(prefix = 'refs/'): Promise<RefSurvey> {
    const refs: Ref[] = [];
    const unreadable: { name: string; fault: ImgstoreError }[] = [];
    const loose = new Set(await this.#files.looseNames(prefix.slice(0, prefix.lastIndexOf('/'))));
    for (const name of loose) {
      const end = await this.#files.follow(name);
      const fault = end.fault ?? danglingFault(name, end);
      if (fault !== undefined) unreadable.push({ name, fault });
      else if (end.id !== undefined) refs.push({ name, id: end.id });
    }
    // Files first: a ref that another process packs meanwhile is then seen twice, and never not at all.
    for (const { name, id } of await this.#files.packed()) if (!loose.has(name)) refs.push({ name, id });
    const asked = <T extends { name: string }>(all: readonly T[]) =>
      all.filter(({ name }) => name.startsWith(prefix)).sort((a, b) => (a.name < b.name ? -1 : 1));
    return { refs: asked(refs), unreadable: asked(unreadable) };
  }

  /**
   * Moves, makes or removes a ref by lock, compare and rename, and logs it.
   * @throws ImgstoreError `REF_MOVED` when the ref is not where `before` says, `BUSY` when it stays locked, `EXISTS` when the name
   * is in the way of another (`a` and `a/b`), `BAD_NAME`, `DAMAGED` when it cannot be read
   */
  async update(update: RefUpdate, options: MoveOptions = {}): Promise<void> {
    const fault = refNameFault(update.name);
    if (fault !== undefined)
      throw new ImgstoreError('BAD_NAME', `'${update.name}' cannot be a ref: it ${fault}`, {
        name: update.name,
      });
    // Who does not ask for a new one may put back what git has made.
    const unwanted = update.before === NULL_ID ? newRefFault(update.name) : undefined;
    if (unwanted !== undefined) throw unwanted;
    if (update.after === NULL_ID) await this.#remove(update);
    else await this.#guard.moveTo(update.after, () => this.#move(update, options));
  }

  /**
   * Leaves out the lines of a ref's log that `isKept` says no to, while nobody moves the ref. Returns those that stay.
   * @throws ImgstoreError `BUSY`, `IO`
   */
  async thinLog(name: string, isKept: (entry: ReflogEntry) => boolean): Promise<readonly ReflogEntry[]> {
    const lock = await this.#lock(name);
    try {
      const entries = await this.logs.read(name);
      const kept = entries.filter(isKept);
      if (kept.length < entries.length) await this.logs.replace(name, kept);
      return kept;
    } finally {
      await lock.release();
    }
  }

  /** The ref that excludes one of this name (`a` and `a/b` exclude each other), `except` left aside. */
  async findConflict(name: string, except?: string): Promise<string | undefined> {
    const packed = (await this.#files.packed()).map((ref) => ref.name);
    const names = [...(await this.#files.looseNames('refs')), ...packed];
    return names.find((other) => other !== except && excludeEachOther(name, other));
  }

  /** Refuses `a/b` beside `a`: git keeps refs as files, and a file cannot be a folder too. @throws ImgstoreError `EXISTS`. */
  async refuseConflict(name: string, except?: string): Promise<void> {
    const other = await this.findConflict(name, except);
    if (other === undefined) return;
    throw new ImgstoreError(
      'EXISTS',
      `'${shortRefName(name)}' cannot be made: '${shortRefName(other)}' is in the way: choose another name, or rename or remove that one`,
      { name, other },
    );
  }

  /** As {@link Refs.update} for what is not a removal. */
  async #move(update: RefUpdate, options: MoveOptions): Promise<void> {
    const { before, after, person, message } = update;
    const end = await this.#end(update.name, options);
    const { name } = end;
    if (end.id === undefined && end.fault === undefined) await this.refuseConflict(name);
    const lock = await this.#lock(name);
    try {
      const now = await this.#end(update.name, options);
      if (now.name !== name) throw refMoved(update.name, before ?? NULL_ID, now.id ?? NULL_ID);
      const at = await this.#compare(update, now);
      // The log comes first: a log line for a move that did not happen does no harm, a move without one could not be undone.
      if (at === NULL_ID) await this.#clearWay(name);
      const line = { before: options.history?.at(-1)?.after ?? at, after, person, message };
      if (options.history !== undefined) await this.logs.replace(name, [...options.history, line]);
      // As git does: tags have no log, and `git gc` takes a tag object in one for damage. Symbolic refs have one of their own.
      else if (!name.startsWith(TAGS))
        for (const each of [name, ...now.symbolic]) await this.logs.append(each, line);
      await lock.commit(Buffer.from(`${after}\n`));
    } finally {
      await lock.release();
    }
  }

  async #remove(update: RefUpdate): Promise<void> {
    const { name } = update;
    const lock = await this.#lock(name);
    try {
      await this.#compare(update, await this.#files.follow(name));
      await this.#files.removePacked(name);
      await removeFile(this.#files.path(name));
      await this.logs.remove(name);
    } finally {
      await lock.release();
    }
    await removeEmptyFolders(this.#files.folder, name);
    await removeEmptyFolders(join(this.#files.folder, 'logs'), name);
  }

  /** Fails when a ref is not where the caller saw it. Returns where it is, for the log. */
  async #compare({ name, before }: RefUpdate, { id, fault }: RefEnd): Promise<ObjectId> {
    if (before === undefined) {
      // What cannot be read was where its log says.
      return id ?? (fault === undefined ? undefined : (await this.logs.read(name)).at(-1)?.after) ?? NULL_ID;
    }
    if (fault !== undefined) throw fault;
    if ((id ?? NULL_ID) !== before) throw refMoved(name, before, id ?? NULL_ID);
    return id ?? NULL_ID;
  }

  /** The ref that a move changes. */
  async #end(name: string, { replaceSymbolic }: MoveOptions): Promise<RefEnd> {
    const end = await this.#files.follow(name);
    return replaceSymbolic ? { ...end, name, symbolic: [] } : end;
  }

  #lock(name: string): Promise<LockFile> {
    const path = this.#files.path(name);
    return makeInFolder('ref', path, () => LockFile.take('ref', path, this.#rules), this.#rules);
  }

  /** Removes what other refs have left where a new ref's file and log will be: folders with nothing in them, and logs without a ref. */
  async #clearWay(name: string): Promise<void> {
    await removeEmptyTree(this.#files.path(name));
    // A folder that is not empty has a ref that another process has just made, or its lock.
    if (!existsSync(this.#files.path(name))) await this.logs.clearWay(name);
  }
}

async function removeFile(path: string): Promise<void> {
  try {
    passPoint('ref.remove', path);
    await unlink(path);
  } catch (error) {
    // Only packed, perhaps with a folder of its name that is left from another ref.
    if (!['ENOENT', 'EISDIR'].includes(systemCode(error) ?? '')) throw fromSystem(error, path);
  }
  await syncFolder('ref', dirname(path));
}

/** True for `a` and `a/b`. */
export function excludeEachOther(one: string, other: string): boolean {
  return one.startsWith(`${other}/`) || other.startsWith(`${one}/`);
}

/** What is wrong with a symbolic ref to a ref that does not exist; undefined for one that is not symbolic and has gone. */
function danglingFault(name: string, { name: target, symbolic, id }: RefEnd): ImgstoreError | undefined {
  // `refs/remotes/origin/HEAD` names the remote's branch, whether it was fetched or not.
  if (id !== undefined || symbolic.length === 0 || name.endsWith('/HEAD')) return undefined;
  return new ImgstoreError('DAMAGED', `leads to '${target}', which does not exist`, { name, target });
}

/** A ref is not where it was. */
export function refMoved(name: string, before: ObjectId, now: ObjectId): ImgstoreError {
  const short = shortRefName(name);
  const message =
    before === NULL_ID
      ? `'${short}' was made by another process meanwhile: look at it and try again`
      : now === NULL_ID
        ? `'${short}' was removed by another process meanwhile: try again, which makes it anew`
        : `'${short}' moved from ${before.slice(0, 12)} to ${now.slice(0, 12)} meanwhile: another process has committed: try again`;
  return new ImgstoreError('REF_MOVED', message, { name, before, now });
}
