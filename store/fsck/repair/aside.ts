import { constants, existsSync } from 'node:fs';
import { copyFile, link, rename } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fromSystem, systemCode } from '../../../errors/index.ts';
import { type FileRules, makeFolder, passPoint, syncFolder } from '../../../files/index.ts';

/** Below the store. */
export const ASIDE_FOLDER = join('imgstore', 'aside');

/**
 * Where damaged files of a store go, as they were, at the same path below a folder that is named after the time: `imgstore/aside/<time>/objects/…`.
 * Nothing is ever removed from there.
 */
export class Aside {
  /** Below the store; it is made with the first file. */
  readonly folder: string;
  /** How the store's files are made. */
  readonly rules: FileRules;
  readonly #store: string;
  #used = false;

  constructor(store: string, rules: FileRules = {}, now = new Date()) {
    this.#store = store;
    this.rules = rules;
    const time = now.toISOString().replace(/[:.]/g, '-');
    this.folder = join(store, ASIDE_FOLDER, time);
  }

  /** Whether anything is there. */
  get used(): boolean {
    return this.#used;
  }

  /** Moves a file of the store here, if it is there. @throws ImgstoreError `IO` */
  async move(path: string): Promise<void> {
    await this.#put(path, async (to) => {
      passPoint('aside.rename', path);
      await rename(path, to);
      await syncFolder('aside', dirname(path));
    });
  }

  /** Keeps a file of the store here too, before another takes its place. @throws ImgstoreError `IO` */
  async keep(path: string): Promise<void> {
    await this.#put(path, async (to) => {
      passPoint('aside.link', path);
      await link(path, to).catch((error: unknown) => {
        if (systemCode(error) === 'ENOENT') throw error;
        return copyFile(path, to, constants.COPYFILE_EXCL);
      });
    });
  }

  async #put(path: string, put: (to: string) => Promise<void>): Promise<void> {
    if (!existsSync(path)) return;
    const to = this.#free(join(this.folder, relative(this.#store, path)));
    try {
      await makeFolder('aside', dirname(to), this.rules);
      await put(to);
      await syncFolder('aside', dirname(to));
      this.#used = true;
    } catch (error) {
      // Gone meanwhile: another process has replaced it.
      if (systemCode(error) !== 'ENOENT') throw fromSystem(error, path);
    }
  }

  /** A file may come here twice in one repair. */
  #free(path: string): string {
    for (let number = 1; ; number++) {
      const free = number === 1 ? path : `${path}.${number}`;
      if (!existsSync(free)) return free;
    }
  }
}
