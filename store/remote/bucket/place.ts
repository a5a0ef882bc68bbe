import { access, constants, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fromSystem, systemCode } from '../../../errors/index.ts';
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
  /** Which state was the newest when somebody looked last. */
  readonly newest: string;
  /** Of clusters of a lazy clone: which packs the bucket had when it was looked at last. */
  readonly packList: string;
  readonly #rules: FileRules;
  readonly #folder: string;
  /** What {@link BucketPlace.remove} removes. */
  readonly #top: string;

  /**
   * @param store its folder, and how its files are made
   * @param apart of a place that is not in a store: the folder above, and {@link BucketPlace.newest} of the one that is
   */
  constructor(
    store: { readonly folder: string; readonly rules: FileRules },
    remote: string = UNNAMED,
    apart?: { readonly top: string; readonly newest: string },
  ) {
    this.#rules = store.rules;
    const folder = join(store.folder, 'imgstore', 'remotes', encodeURIComponent(remote));
    this.#folder = folder;
    this.#top = apart?.top ?? folder;
    this.indexes = join(folder, 'indexes');
    this.checkpoints = join(folder, 'checkpoints');
    this.outgoing = join(folder, 'outgoing');
    this.incoming = join(folder, 'incoming');
    this.looked = join(folder, 'looked');
    this.cache = join(folder, 'cache');
    this.journal = join(folder, 'uploaded.json');
    this.newest = apart?.newest ?? join(folder, 'newest.json');
    this.packList = join(folder, 'packs.json');
  }

  /** A place of its own among the temporary files, for who cannot write to that of the store. It goes with {@link BucketPlace.remove}. @throws ImgstoreError `IO`. */
  static async temporary({ newest }: BucketPlace): Promise<BucketPlace> {
    try {
      const folder = await mkdtemp(join(tmpdir(), 'imgstore-remote-'));
      return new BucketPlace({ folder, rules: {} }, UNNAMED, { top: folder, newest });
    } catch (error) {
      throw fromSystem(error, `the folder for temporary files (TMPDIR), ${tmpdir()}`);
    }
  }

  /** Whether it can be written to, or made where it is not there yet. */
  async isWritable(): Promise<boolean> {
    for (let path = this.#folder; ; path = dirname(path)) {
      try {
        await access(path, constants.W_OK | constants.X_OK);
        return true;
      } catch (error) {
        if (systemCode(error) !== 'ENOENT' || path === dirname(path)) return false;
      }
    }
  }

  /** Removes all of it. @throws ImgstoreError `IO`. */
  async remove(): Promise<void> {
    try {
      await rm(this.#top, { recursive: true, force: true });
    } catch (error) {
      throw fromSystem(error, this.#top);
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
