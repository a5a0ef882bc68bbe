import { readdirSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fromSystem } from '../../errors/index.ts';
import {
  passPoint,
  randomOwnerSuffix,
  removeLeftBehindIn,
  sharePath,
  syncFile,
  syncFolder,
} from '../../files/index.ts';
import type { Store } from '../store.ts';

/** Beside packs, where `gc` removes what begins with `tmp_` and was left by a process that is gone. */
const PREFIX = 'tmp_fetch';

/** Files of a pack, in the order in which they get their names: with its index a pack is seen. */
const ENDINGS = ['.pack', '.rev', '.idx'] as const;

/**
 * A folder of objects of its own, into which git puts what it receives while it checks it: what fails, or is stopped, leaves nothing in the store.
 * git-receive-pack does the same on its side.
 */
export class Quarantine {
  /** To be git's `GIT_OBJECT_DIRECTORY`. */
  readonly path: string;
  readonly #store: Store;

  private constructor(path: string, store: Store) {
    this.path = path;
    this.#store = store;
  }

  /** Makes one, and removes those of processes that were killed. @throws ImgstoreError `IO`. */
  static async make(store: Store): Promise<Quarantine> {
    const { folder } = store.objects.packs;
    await removeLeftBehindIn('fetch', folder, PREFIX);
    const path = join(folder, `${PREFIX}${randomOwnerSuffix()}`);
    try {
      passPoint('fetch.create', path);
      await mkdir(join(path, 'pack'), { recursive: true });
      for (const each of [path, join(path, 'pack')]) sharePath(each, store.rules.sharing);
    } catch (error) {
      throw fromSystem(error, path);
    }
    return new Quarantine(path, store);
  }

  /** The folder of its packs. */
  get packs(): string {
    return join(this.path, 'pack');
  }

  /** What git must know besides its path to work in here: that it has the store's objects too. */
  get environment(): NodeJS.ProcessEnv {
    const objects = join(this.#store.folder, 'objects').replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n');
    return { GIT_OBJECT_DIRECTORY: this.path, GIT_ALTERNATE_OBJECT_DIRECTORIES: `"${objects}"` };
  }

  /** Moves the packs into the store, lasting. @throws ImgstoreError `IO`. */
  async install(): Promise<void> {
    const { packs } = this.#store.objects;
    const from = this.packs;
    const names = readdirSync(from);
    const stems = names.filter((name) => name.endsWith('.idx')).map((name) => name.slice(0, -'.idx'.length));
    if (stems.length === 0) return;
    const files = stems.flatMap((stem) =>
      ENDINGS.map((ending) => stem + ending).filter((name) => names.includes(name)),
    );
    for (const name of files) await syncFile('fetch', join(from, name));
    for (const name of files) await move(join(from, name), join(packs.folder, name));
    await syncFolder('fetch', packs.folder);
    packs.refresh();
  }

  /** Removes it, with all that is left in it. Never throws: `gc` does what this could not. */
  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
  }
}

async function move(from: string, to: string): Promise<void> {
  try {
    passPoint('fetch.rename', to);
    await rename(from, to);
  } catch (error) {
    throw fromSystem(error, to);
  }
}
