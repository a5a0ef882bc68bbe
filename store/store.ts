import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { fromSystem, ImgstoreError } from '../errors/index.ts';
import type { FileRules } from '../files/index.ts';
import { type Codecs, codecs, type ObjectId } from '../objects/index.ts';
import type { Config } from './config/config.ts';
import { loadConfig } from './config/config.ts';
import { lazyRemote, refuseOtherFormats } from './config/format.ts';
import { lockTimeoutOf } from './config/lock-timeout.ts';
import { sharingOf } from './config/sharing.ts';
import { findStore, storeAt } from './location.ts';
import { refuseAlternates } from './objects/alternates.ts';
import { ObjectDatabase } from './objects/database.ts';
import type { NewObjects } from './objects/new-objects.ts';
import { ObjectTransaction } from './objects/transaction.ts';
import { Refs } from './refs/refs.ts';
import { StatCache, type SweepWatch } from './stat-cache.ts';
import { isClusterSize } from './version/image-json.ts';
import { Announcement } from './work/announcement.ts';
import { SweepGuard } from './work/guard.ts';

export const DEFAULT_CLUSTER_SIZE = 65536;
/** New objects of a commit from which on they go into a pack. */
export const DEFAULT_UNPACK_LIMIT = 512;
/** zlib's fastest level: deflate is most of the cost of a first commit, and level 6 takes twice as long for 5% less. */
export const DEFAULT_COMPRESSION = 1;

/** The strongest level of any codec; weaker codecs take their own strongest. */
const STRONGEST_COMPRESSION = 12;

/** Deltas that may lead to an object. */
export const DEFAULT_PACK_DEPTH = 8;
/** Beyond it reads become slow, and little is gained. */
const MOST_PACK_DEPTH = 250;

/** Loose objects: git's `gc.auto`. */
export const DEFAULT_AUTO_PACK = 6700;

export interface StoreOptions {
  /** Called with what the user should know about the store, such as a pack that is damaged and left out. */
  readonly onNotice?: ((notice: string) => void) | undefined;
  /** Seconds for which locks of other processes are waited for, Infinity for ever; as `imgstore.lockTimeout` says when not given. */
  readonly lockTimeout?: number | undefined;
  /** Ends a wait for a lock. */
  readonly signal?: AbortSignal | undefined;
}

/** An open store: a bare git repository in SHA-256 format with versions of disks in it. */
export class Store {
  /** Absolute path of the store itself (`…/.imgstore`). */
  readonly folder: string;
  readonly config: Config;
  readonly objects: ObjectDatabase;
  readonly refs: Refs;
  readonly statCache: StatCache;
  /** Tells versions of which `gc` may have removed a part. */
  readonly sweeps: SweepWatch;
  /** How the store's files are made and locked. */
  readonly rules: FileRules;
  /** Bytes; of disks that are stored from now on. */
  readonly clusterSize: number;
  /** zlib level of what is stored from now on. */
  readonly compression: number;
  /** The same for `pack --aggressive`. */
  readonly aggressiveCompression: number;
  /** Deltas that may lead to an object. */
  readonly packDepth: number;
  /** Loose objects from which on a commit starts `pack`; 0 for never. */
  readonly autoPack: number;
  readonly #unpackLimit: number;
  readonly #codecs: Codecs;
  readonly #packCompression: number | undefined;

  private constructor(folder: string, config: Config, { onNotice, lockTimeout, signal }: StoreOptions) {
    this.folder = folder;
    this.config = config;
    const lockSeconds = lockTimeout ?? lockTimeoutOf(config);
    this.rules = {
      sharing: sharingOf(config),
      lockWaitMs: lockSeconds === undefined ? undefined : lockSeconds * 1000,
      signal,
    };
    this.objects = new ObjectDatabase(join(folder, 'objects'), onNotice, this.rules);
    const tips = async () => (await this.refs.list()).map(({ id }) => id);
    const guard = new SweepGuard(folder, this.objects, tips, this.rules);
    this.refs = new Refs(folder, this.rules, guard);
    this.sweeps = guard;
    this.statCache = new StatCache(join(folder, 'imgstore', 'index'), this.rules, guard);
    this.clusterSize = config.number('imgstore.clusterSize', DEFAULT_CLUSTER_SIZE);
    this.compression = config.number('imgstore.compression', DEFAULT_COMPRESSION);
    this.#codecs = codecs();
    this.#packCompression = config.number('imgstore.packCompression', undefined);
    this.aggressiveCompression = config.number('imgstore.aggressiveCompression', STRONGEST_COMPRESSION);
    this.packDepth = config.number('imgstore.packDepth', DEFAULT_PACK_DEPTH);
    this.autoPack = config.number('imgstore.autoPack', DEFAULT_AUTO_PACK);
    this.#unpackLimit = config.number('imgstore.unpackLimit', DEFAULT_UNPACK_LIMIT);
    this.#validate();
  }

  /**
   * Opens a store.
   * @param folder the store itself, or the folder that has it as `.imgstore`
   * @throws ImgstoreError `NO_STORE`, `BAD_STORE`, `UNSUPPORTED` when objects are in other folders, `IO`
   */
  static async open(folder: string, options: StoreOptions = {}): Promise<Store> {
    return Store.#openAt(storeAt(folder), options);
  }

  /** Opens the store of a folder or of the nearest folder above that has one. @throws ImgstoreError as {@link Store.open}. */
  static async find(start: string, options: StoreOptions = {}): Promise<Store> {
    return Store.#openAt(findStore(start), options);
  }

  static async #openAt(path: string, options: StoreOptions): Promise<Store> {
    try {
      const folder = await realpath(path);
      const config = await loadConfig(join(path, 'config'), process.env, options.onNotice);
      refuseOtherFormats(config, join(folder, 'config'));
      refuseAlternates(join(folder, 'objects'));
      const store = new Store(folder, config, options);
      const remote = lazyRemote(config);
      if (remote !== undefined) {
        // Few stores need what goes to buckets, which takes long to load.
        const { openLazy } = await import('./lazy/open-lazy.ts');
        store.objects.promise(await openLazy(store, config, remote, options.onNotice));
      }
      return store;
    } catch (error) {
      throw fromSystem(error, path);
    }
  }

  /** Begins to store objects. @param newObjects is shown them @throws ImgstoreError `IO`. */
  begin(newObjects?: NewObjects): ObjectTransaction {
    return new ObjectTransaction(this.objects, Announcement.make(this.folder, this.rules, 'writes'), {
      unpackLimit: this.#unpackLimit,
      compression: this.compression,
      newObjects,
    });
  }

  /** Says to `gc` that versions are being read, until it is withdrawn. */
  announceReading(versions: readonly ObjectId[]): Announcement | undefined {
    return Announcement.ofReader(this.folder, this.rules, versions);
  }

  /** Level of the deflate codec for what `pack` writes. */
  get packCompression(): number {
    // Asked for when it is needed, as the codec is loaded for an answer.
    return this.#packCompression ?? this.#codecs.deflate.packLevel;
  }

  /** Gives back every file handle. */
  close(): void {
    this.objects.close();
  }

  #validate(): void {
    const where = join(this.folder, 'config');
    const bad = (reason: string) => new ImgstoreError('BAD_STORE', `${where}: ${reason}`, { path: where });
    if (!isClusterSize(this.clusterSize))
      throw bad(`imgstore.clusterSize is ${this.clusterSize}: must be a power of two from 4K to 2M`);
    const levels = [
      ['compression', this.compression, 9],
      ['packCompression', this.#packCompression ?? 0, 12],
      ['aggressiveCompression', this.aggressiveCompression, 12],
    ] as const;
    for (const [name, level, most] of levels) {
      if (level > most) throw bad(`imgstore.${name} is ${level}: must be 0 to ${most}`);
    }
    if (this.packDepth > MOST_PACK_DEPTH)
      throw bad(`imgstore.packDepth is ${this.packDepth}: must be 0 to ${MOST_PACK_DEPTH}`);
  }
}
