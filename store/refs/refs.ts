import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fromSystem, ImgstoreError, isImgstoreError, systemCode } from '../../errors/index.ts';
import { LockFile, passPoint, syncFolder } from '../../files/index.ts';
import { isId, NULL_ID, type ObjectId, type Person } from '../../objects/index.ts';
import { removeEmptyFolders, removeEmptyTree } from './empty-folders.ts';
import { refNameFault, shortRefName, TAGS } from './name.ts';
import { encodePackedRefs, type PackedRef, parsePackedRefs } from './packed.ts';
import { type ReflogEntry, Reflogs } from './reflog.ts';

/** A ref and the object it names. */
export interface Ref {
  /** Full name: `refs/heads/web`. */
  readonly name: string;
  readonly id: ObjectId;
}

/** A move of a ref, which happens only when the ref is still where the caller saw it. */
export interface RefUpdate {
  readonly name: string;
  /** {@link NULL_ID}: the ref must not exist. Undefined: wherever it is. */
  readonly before: ObjectId | undefined;
  /** {@link NULL_ID} removes the ref. */
  readonly after: ObjectId;
  /** For the reflog. */
  readonly person: Person;
  readonly message: string;
}

/** git's bound on symbolic refs that lead to each other. */
const MOST_SYMBOLIC = 5;
const SYMBOLIC = 'ref: ';

/** The refs of a store: files below `refs/`, `packed-refs`, and `HEAD`. */
export class Refs {
  readonly logs: Reflogs;
  readonly #folder: string;

  /** @param storeFolder the store */
  constructor(storeFolder: string) {
    this.#folder = storeFolder;
    this.logs = new Reflogs(storeFolder);
  }

  /** Where a ref leads, symbolic ones followed; undefined when it does not exist. @throws ImgstoreError `DAMAGED`. */
  async resolve(name: string): Promise<ObjectId | undefined> {
    let at = name;
    for (let i = 0; i <= MOST_SYMBOLIC; i++) {
      const content = await this.#read(at);
      if (content === undefined || !content.startsWith(SYMBOLIC)) return content;
      at = content.slice(SYMBOLIC.length).trim();
    }
    throw new ImgstoreError('DAMAGED', `${name}: symbolic refs lead to each other`, { name });
  }

  /** The ref that a symbolic ref names (`HEAD` → `refs/heads/web`), whether that exists or not. */
  async symbolicTarget(name: string): Promise<string | undefined> {
    const content = await this.#read(name);
    return content?.startsWith(SYMBOLIC) ? content.slice(SYMBOLIC.length).trim() : undefined;
  }

  /** Points a symbolic ref at another ref. */
  async setSymbolic(name: string, target: string): Promise<void> {
    const lock = await LockFile.take('ref', join(this.#folder, name));
    try {
      await lock.commit(Buffer.from(`${SYMBOLIC}${target}\n`));
    } finally {
      await lock.release();
    }
  }

  /** All refs whose names begin with `prefix` (`refs/heads/`), by name. @throws ImgstoreError `DAMAGED`. */
  async list(prefix = 'refs/'): Promise<Ref[]> {
    const found = new Map<string, ObjectId>();
    for (const name of await this.#looseNames(prefix.slice(0, prefix.lastIndexOf('/')))) {
      const id = await this.resolve(name);
      if (id !== undefined) found.set(name, id);
    }
    // Files first: a ref that another process packs meanwhile is then seen twice, and never not at all.
    for (const { name, id } of await this.#packed()) if (!found.has(name)) found.set(name, id);
    return [...found]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, id]) => ({ name, id }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Moves, makes or removes a ref by lock, compare and rename, and logs it.
   * @throws ImgstoreError `REF_MOVED` when the ref is not where `before` says, `BUSY` when it stays locked, `EXISTS` when the name
   * is in the way of another (`a` and `a/b`), `BAD_NAME`.
   */
  async update(update: RefUpdate): Promise<void> {
    await this.#move(update, []);
  }

  /** @param history lines that go into the log before that of this move */
  async #move(update: RefUpdate, history: readonly ReflogEntry[]): Promise<void> {
    const { name, before, after, person, message } = update;
    const fault = refNameFault(name);
    if (fault !== undefined)
      throw new ImgstoreError('BAD_NAME', `'${name}' cannot be a ref: it ${fault}`, { name });
    if (after !== NULL_ID && (await this.#read(name)) === undefined) await this.#refuseConflict(name);
    const lock = await this.#lock(name);
    try {
      const now = (await this.#read(name)) ?? NULL_ID;
      if (before !== undefined && now !== before) throw moved(name, before, now);
      if (after === NULL_ID) {
        await this.#removeFromPacked(name);
        passPoint('ref.remove', join(this.#folder, name));
        await rm(join(this.#folder, name), { force: true });
        await syncFolder('ref', dirname(join(this.#folder, name)));
        await this.logs.remove(name);
      } else {
        // The log comes first: a log line for a move that did not happen does no harm, a move without one could not be undone.
        if (now === NULL_ID) await this.#clearFolders(name);
        const line = { before: history.at(-1)?.after ?? now, after, person, message };
        // As git does: tags have no log, and `git gc` takes a tag object in one for damage.
        if (!name.startsWith(TAGS)) await this.logs.write(name, [...history, line]);
        await lock.commit(Buffer.from(`${after}\n`));
      }
    } finally {
      await lock.release();
    }
    if (after === NULL_ID) {
      await removeEmptyFolders(this.#folder, name);
      await removeEmptyFolders(join(this.#folder, 'logs'), name);
    }
  }

  /**
   * Gives a ref another name, its log with it: the new one is made before the old one goes, so a kill between leaves both.
   * @throws ImgstoreError as {@link Refs.update}
   */
  async rename(move: {
    readonly from: string;
    readonly to: string;
    readonly id: ObjectId;
    readonly person: Person;
    readonly message: string;
  }): Promise<void> {
    const { from, to, id, person, message } = move;
    // `a` → `a/b`: the old file would be in the way of the new one's folder.
    const inTheWay = to.startsWith(`${from}/`) || from.startsWith(`${to}/`);
    const history = await this.logs.read(from);
    if (inTheWay) await this.update({ name: from, before: id, after: NULL_ID, person, message });
    await this.#move({ name: to, before: NULL_ID, after: id, person, message }, history);
    if (!inTheWay) await this.update({ name: from, before: id, after: NULL_ID, person, message });
  }

  async #lock(name: string): Promise<LockFile> {
    const path = join(this.#folder, name);
    try {
      await mkdir(dirname(path), { recursive: true });
      return await LockFile.take('ref', path);
    } catch (error) {
      // A folder of a removed branch may have gone between the two steps, and a file may be where a folder is needed.
      if (isImgstoreError(error, 'NOT_FOUND')) return this.#lock(name);
      throw fromSystem(error, path);
    }
  }

  /** Removes what refs of longer names have left where a new ref's file and log will be: folders with nothing in them. */
  async #clearFolders(name: string): Promise<void> {
    for (const root of [this.#folder, join(this.#folder, 'logs')]) await removeEmptyTree(join(root, name));
  }

  /** The content of a ref: an id, or `ref: …`. */
  async #read(name: string): Promise<string | undefined> {
    const path = join(this.#folder, name);
    try {
      const content = (await readFile(path, 'utf8')).trim();
      if (content.startsWith(SYMBOLIC) || isId(content)) return content;
      throw new ImgstoreError('DAMAGED', `${path}: holds '${content.slice(0, 80)}', which is no object id`, {
        path,
      });
    } catch (error) {
      const code = systemCode(error);
      if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EISDIR') throw fromSystem(error, path);
    }
    return (await this.#packed()).find((ref) => ref.name === name)?.id;
  }

  async #packed(): Promise<PackedRef[]> {
    const path = join(this.#folder, 'packed-refs');
    try {
      return parsePackedRefs(await readFile(path, 'utf8'), path);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [];
      throw fromSystem(error, path);
    }
  }

  async #removeFromPacked(name: string): Promise<void> {
    if (!(await this.#packed()).some((ref) => ref.name === name)) return;
    const lock = await LockFile.take('packed-refs', join(this.#folder, 'packed-refs'));
    try {
      const rest = (await this.#packed()).filter((ref) => ref.name !== name);
      await lock.commit(Buffer.from(encodePackedRefs(rest)));
    } finally {
      await lock.release();
    }
  }

  async #looseNames(folder: string): Promise<string[]> {
    let entries: import('node:fs').Dirent[];
    try {
      entries = await readdir(join(this.#folder, folder), { withFileTypes: true });
    } catch (error) {
      if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
      throw fromSystem(error, join(this.#folder, folder));
    }
    const names: string[] = [];
    for (const entry of entries) {
      const name = `${folder}/${entry.name}`;
      if (entry.isDirectory()) names.push(...(await this.#looseNames(name)));
      else if (refNameFault(name) === undefined) names.push(name);
    }
    return names;
  }

  /** Refuses `a/b` beside `a`: git keeps refs as files, and a file cannot be a folder too. */
  async #refuseConflict(name: string): Promise<void> {
    for (const other of await this.list()) {
      if (other.name.startsWith(`${name}/`) || name.startsWith(`${other.name}/`)) {
        throw new ImgstoreError(
          'EXISTS',
          `'${shortRefName(name)}' cannot be made: '${shortRefName(other.name)}' is in the way`,
          {
            name,
            other: other.name,
          },
        );
      }
    }
  }
}

function moved(name: string, before: ObjectId, now: ObjectId): ImgstoreError {
  const short = shortRefName(name);
  const message =
    before === NULL_ID
      ? `'${short}' was made by another process meanwhile: look at it and try again`
      : now === NULL_ID
        ? `'${short}' was removed by another process meanwhile`
        : `'${short}' moved from ${before.slice(0, 12)} to ${now.slice(0, 12)} meanwhile: another process has committed: try again`;
  return new ImgstoreError('REF_MOVED', message, { name, before, now });
}
