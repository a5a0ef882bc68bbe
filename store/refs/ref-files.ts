import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromSystem, ImgstoreError, isImgstoreError, systemCode } from '../../errors/index.ts';
import { type FileRules, LockFile } from '../../files/index.ts';
import { isId, type ObjectId } from '../../objects/index.ts';
import { refNameFault } from './name.ts';
import { type PackedRef, parsePackedRefs, withoutPackedRef } from './packed.ts';

/** Most refs on the way from a symbolic one to an id: git's SYMREF_MAXDEPTH. */
const MOST_SYMBOLIC = 5;
const SYMBOLIC = 'ref:';
/** Characters of a damaged ref that an error shows. */
const MOST_SHOWN = 80;

/** Where a ref leads, symbolic ones followed. */
export interface RefEnd {
  /** The ref that has the id, or would have it. Of symbolic refs that lead nowhere the one that was asked for. */
  readonly name: string;
  /** The symbolic refs on the way, the one that was asked for first. */
  readonly symbolic: readonly string[];
  /** Undefined when the ref does not exist, or cannot be read. */
  readonly id: ObjectId | undefined;
  /** Why it cannot be read. */
  readonly fault: ImgstoreError | undefined;
}

/** The files that refs are in: one for each below `refs/`, `packed-refs`, and `HEAD`. */
export class RefFiles {
  readonly folder: string;

  readonly #rules: FileRules;

  /**
   * @param folder the store
   * @param rules how files are made and locked
   */
  constructor(folder: string, rules: FileRules) {
    this.folder = folder;
    this.#rules = rules;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /**
   * The content of a ref: an id, or `ref: …`; undefined when there is no such ref.
   * @throws ImgstoreError `DAMAGED` when it is neither, `IO`
   */
  async read(name: string): Promise<string | undefined> {
    const path = this.path(name);
    try {
      const content = (await readFile(path, 'utf8')).trim();
      if (content.startsWith(SYMBOLIC) || isId(content)) return content;
      const shown = JSON.stringify(content.slice(0, MOST_SHOWN)).slice(1, -1);
      const reason = content === '' ? 'is empty' : `holds '${shown}', which is no object id`;
      throw new ImgstoreError('DAMAGED', `${path}: ${reason}`, { path });
    } catch (error) {
      const code = systemCode(error);
      if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'EISDIR') throw fromSystem(error, path);
    }
    return (await this.packed()).find((ref) => ref.name === name)?.id;
  }

  /** The ref that a symbolic ref names, whether that exists or not. @throws ImgstoreError `DAMAGED`, `IO`. */
  async symbolicTarget(name: string): Promise<string | undefined> {
    const content = await this.read(name);
    return content?.startsWith(SYMBOLIC) ? content.slice(SYMBOLIC.length).trim() : undefined;
  }

  /** Follows symbolic refs to their end; a fault on the way is part of the answer. */
  async follow(asked: string): Promise<RefEnd> {
    const symbolic: string[] = [];
    let name = asked;
    try {
      for (let i = 0; i < MOST_SYMBOLIC; i++) {
        const content = await this.read(name);
        if (!content?.startsWith(SYMBOLIC)) return { name, symbolic, id: content, fault: undefined };
        const target = content.slice(SYMBOLIC.length).trim();
        // Also so that nothing outside of the store is read.
        if (!target.startsWith('refs/') || refNameFault(target) !== undefined) {
          const reason = `names '${target.slice(0, MOST_SHOWN)}', which is no ref`;
          const fault = new ImgstoreError('DAMAGED', `${this.path(name)}: ${reason}`, { name: asked });
          return { name, symbolic, id: undefined, fault };
        }
        symbolic.push(name);
        name = target;
      }
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      return { name, symbolic, id: undefined, fault: error };
    }
    const reason = `it and the symbolic refs behind it lead to each other, or are more than ${MOST_SYMBOLIC - 1}`;
    const fault = new ImgstoreError('DAMAGED', `${this.path(asked)}: ${reason}`, { name: asked });
    return { name: asked, symbolic: [], id: undefined, fault };
  }

  /** Points a symbolic ref at another ref. @throws ImgstoreError `BUSY`, `IO`. */
  async writeSymbolic(name: string, target: string): Promise<void> {
    const lock = await LockFile.take('ref', this.path(name), this.#rules);
    try {
      await lock.commit(Buffer.from(`${SYMBOLIC} ${target}\n`));
    } finally {
      await lock.release();
    }
  }

  /** The names of the refs that have a file below a folder (`refs/heads`); whether they can be read is not looked at. @throws ImgstoreError `IO`. */
  async looseNames(folder: string): Promise<string[]> {
    let entries: import('node:fs').Dirent[];
    try {
      entries = await readdir(this.path(folder), { withFileTypes: true });
    } catch (error) {
      if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
      throw fromSystem(error, this.path(folder));
    }
    const names: string[] = [];
    for (const entry of entries) {
      const name = `${folder}/${entry.name}`;
      if (entry.isDirectory()) names.push(...(await this.looseNames(name)));
      else if (refNameFault(name) === undefined) names.push(name);
    }
    return names;
  }

  /** The refs in `packed-refs`. @throws ImgstoreError `DAMAGED`, `IO`. */
  async packed(): Promise<PackedRef[]> {
    return parsePackedRefs(await this.#packedText(), this.path('packed-refs'));
  }

  /** Takes a ref out of `packed-refs`. @throws ImgstoreError `BUSY`, `DAMAGED`, `IO`. */
  async removePacked(name: string): Promise<void> {
    if (!(await this.packed()).some((ref) => ref.name === name)) return;
    const lock = await LockFile.take('packed-refs', this.path('packed-refs'), this.#rules);
    try {
      await lock.commit(Buffer.from(withoutPackedRef(await this.#packedText(), name)));
    } finally {
      await lock.release();
    }
  }

  async #packedText(): Promise<string> {
    const path = this.path('packed-refs');
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return '';
      throw fromSystem(error, path);
    }
  }
}
