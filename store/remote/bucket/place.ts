import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fromSystem } from '../../../errors/index.ts';
import { type FileRules, LockFile, makeFolder, makeInFolder } from '../../../files/index.ts';

/** Name of the folder of a URL that is no remote of the store. */
const UNNAMED = '-';

/** Where a store keeps what it knows of a bucket, and what is on its way there or from there: `imgstore/remotes/<name>`. All of it can be had again. */
export class BucketPlace {
  /** The indexes of the bucket's packs. */
  readonly indexes: string;
  readonly checkpoints: string;
  /** Packs that are being sent. */
  readonly outgoing: string;
  /** Packs that are being fetched. */
  readonly incoming: string;
  /** Packs that are fetched to be looked at. */
  readonly looked: string;
  /** Clusters of a lazy clone that were read. */
  readonly cache: string;
  /** Which packs were sent and are listed by no state yet. */
  readonly journal: string;
  /** Of clusters of a lazy clone: which packs the bucket had when it was looked at last. */
  readonly packList: string;
  readonly #rules: FileRules;
  readonly #folder: string;

  /** @param store its folder, and how its files are made */
  constructor(store: { readonly folder: string; readonly rules: FileRules }, remote: string = UNNAMED) {
    this.#rules = store.rules;
    const folder = join(store.folder, 'imgstore', 'remotes', encodeURIComponent(remote));
    this.#folder = folder;
    this.indexes = join(folder, 'indexes');
    this.checkpoints = join(folder, 'checkpoints');
    this.outgoing = join(folder, 'outgoing');
    this.incoming = join(folder, 'incoming');
    this.looked = join(folder, 'looked');
    this.cache = join(folder, 'cache');
    this.journal = join(folder, 'uploaded.json');
    this.packList = join(folder, 'packs.json');
  }

  /** Removes all of it. @throws ImgstoreError `IO`. */
  async remove(): Promise<void> {
    try {
      await rm(this.#folder, { recursive: true, force: true });
    } catch (error) {
      throw fromSystem(error, this.#folder);
    }
  }

  /** The right to send to the bucket, or to fetch from it. @throws ImgstoreError `BUSY`, `INTERRUPTED`, `IO`. */
  async lock(): Promise<LockFile> {
    const path = join(this.#folder, 'transfer');
    const lock = await makeInFolder(
      'remote-lock',
      path,
      () => LockFile.take('remote-lock', path, this.#rules, 0),
      this.#rules,
    );
    try {
      // Before any file in them, so that all who share the store may write there.
      const folders = [this.indexes, this.checkpoints, this.outgoing];
      for (const folder of folders) await makeFolder('remote-lock', folder, this.#rules);
    } catch (error) {
      await lock.release();
      throw error;
    }
    return lock;
  }
}
