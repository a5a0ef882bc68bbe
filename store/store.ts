import { existsSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fromSystem, ImgstoreError } from '../errors/index.ts';
import type { Config } from './config/config.ts';
import { loadConfig } from './config/config.ts';
import { ObjectDatabase } from './objects/database.ts';
import { ObjectTransaction } from './objects/transaction.ts';
import { Refs } from './refs/refs.ts';
import { StatCache } from './stat-cache.ts';
import { isClusterSize } from './version/image-json.ts';

/** The folder that is a store, within the folder that it is about. */
export const STORE_FOLDER = '.imgstore';

/** Version of the store's layout: `imgstore.version` of its config. */
export const STORE_VERSION = 1;

export const DEFAULT_CLUSTER_SIZE = 65536;
/** New objects of a commit from which on they go into a pack. */
export const DEFAULT_UNPACK_LIMIT = 512;
/** zlib's fastest level: deflate is most of the cost of a first commit, and level 6 takes twice as long for 5% less. */
export const DEFAULT_COMPRESSION = 1;

/** An open store: a bare git repository in SHA-256 format with versions of disks in it. */
export class Store {
  /** Absolute path of the store itself (`…/.imgstore`). */
  readonly folder: string;
  readonly config: Config;
  readonly objects: ObjectDatabase;
  readonly refs: Refs;
  readonly statCache: StatCache;
  /** Bytes; of disks that are stored from now on. */
  readonly clusterSize: number;
  /** zlib level of what is stored from now on. */
  readonly compression: number;
  readonly #unpackLimit: number;

  private constructor(folder: string, config: Config) {
    this.folder = folder;
    this.config = config;
    this.objects = new ObjectDatabase(join(folder, 'objects'));
    this.refs = new Refs(folder);
    this.statCache = new StatCache(join(folder, 'imgstore', 'index'));
    this.clusterSize = config.number('imgstore.clusterSize', DEFAULT_CLUSTER_SIZE);
    this.compression = config.number('imgstore.compression', DEFAULT_COMPRESSION);
    this.#unpackLimit = config.number('imgstore.unpackLimit', DEFAULT_UNPACK_LIMIT);
    this.#validate();
  }

  /**
   * Opens a store.
   * @param folder the store itself, or the folder that has it as `.imgstore`
   * @throws ImgstoreError `NO_STORE`, `BAD_STORE`
   */
  static async open(folder: string): Promise<Store> {
    const inner = join(folder, STORE_FOLDER);
    const path = resolve(isStore(inner) ? inner : folder);
    if (!isStore(path)) throw noStore(folder);
    try {
      return new Store(await realpath(path), await loadConfig(join(path, 'config')));
    } catch (error) {
      throw fromSystem(error, path);
    }
  }

  /** Opens the store of a folder or of the nearest folder above that has one. @throws ImgstoreError `NO_STORE`, `BAD_STORE`. */
  static async find(start: string): Promise<Store> {
    for (let folder = resolve(start); ; folder = dirname(folder)) {
      if (isStore(join(folder, STORE_FOLDER))) return Store.open(join(folder, STORE_FOLDER));
      if (folder === dirname(folder)) throw noStore(start);
    }
  }

  /** Begins to store objects. */
  begin(): ObjectTransaction {
    return new ObjectTransaction(this.objects, {
      unpackLimit: this.#unpackLimit,
      compression: this.compression,
    });
  }

  /** Gives back every file handle. */
  close(): void {
    this.objects.close();
  }

  #validate(): void {
    const where = join(this.folder, 'config');
    const bad = (reason: string) => new ImgstoreError('BAD_STORE', `${where}: ${reason}`, { path: where });
    const version = this.config.get('imgstore.version');
    if (version === undefined)
      throw bad(
        "has no imgstore.version: this is a git repository, but no imgstore store: run 'imgstore init' elsewhere",
      );
    if (version !== String(STORE_VERSION))
      throw bad(`imgstore.version is ${version}, this imgstore knows ${STORE_VERSION}: use a newer one`);
    if (this.config.get('extensions.objectformat')?.toLowerCase() !== 'sha256')
      throw bad('extensions.objectformat is not sha256');
    if (!isClusterSize(this.clusterSize))
      throw bad(`imgstore.clusterSize is ${this.clusterSize}: must be a power of two from 4K to 2M`);
    if (this.compression > 9) throw bad(`imgstore.compression is ${this.compression}: must be 0 to 9`);
  }
}

/** True when a folder looks like a store: the signs by which git knows a repository. */
function isStore(folder: string): boolean {
  return ['HEAD', 'config', 'objects', 'refs'].every((name) => existsSync(join(folder, name)));
}

function noStore(folder: string): ImgstoreError {
  return new ImgstoreError('NO_STORE', `no store here (${resolve(folder)}): run 'imgstore init'`, {
    path: resolve(folder),
  });
}
