import { statSync } from 'node:fs';
import { allDone } from '../../block/index.ts';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import type { FileRules } from '../../files/index.ts';
import {
  codecs,
  type GitObject,
  type LooseObjects,
  looseFromDeflated,
  type ObjectId,
  parseLoose,
} from '../../objects/index.ts';
import { type Bucket, RemoteIndexes, type RemotePack, RemoteStates } from '../../remote/index.ts';
import type { PromisedObjects } from '../objects/promised.ts';
import type { BucketPlace } from '../remote/bucket/place.ts';
import { ClusterStore } from './cluster-store.ts';
import { type DeflatedObject, EntryReader } from './entry-reader.ts';
import { HeldObjects } from './held-objects.ts';
import { readPackList, writePackList } from './pack-list.ts';
import { RemoteWindows } from './remote-windows.ts';

/** Objects that are asked for together: of 64 KiB each, what one request may bring. */
const MOST_AT_ONCE = 64;
/** After a remote was not reached, for so long nobody waits for it again: a guest asks for many clusters. */
const DOWN_MS = 1000;

const FASTEST = 1;

/** What of a lazy clone is elsewhere, and how it is kept here. */
export interface LazyOptions {
  readonly bucket: Bucket;
  readonly place: BucketPlace;
  readonly rules: FileRules;
  /** Of copies of what was read. */
  readonly mostBytes: number;
  /** Told when no copies can be kept. */
  readonly onNotice?: ((notice: string) => void) | undefined;
}

/** The objects of a lazy clone that stay in the bucket it was made from until somebody reads them. */
export class LazyObjects implements PromisedObjects {
  readonly #options: LazyOptions;
  readonly #windows: RemoteWindows;
  readonly #copies: ClusterStore;
  readonly #held = new HeldObjects();
  /** What the last fetch has noted: commits and maps that lead to it are here. */
  #promised: RemoteIndexes;
  #reader: EntryReader;
  /** What the bucket has now, when it was looked at after its packs had gone. */
  #renewed: RemoteIndexes | undefined;
  #renewal: Promise<void> | undefined;
  #listStamp: string | undefined;
  #isKeeping = true;
  #down: { readonly until: number; readonly error: ImgstoreError } | undefined;

  private constructor(options: LazyOptions) {
    const { bucket, place, rules, mostBytes } = options;
    this.#options = options;
    this.#windows = new RemoteWindows(bucket);
    this.#copies = new ClusterStore(place.cache, mostBytes, rules);
    this.#promised = this.#newIndexes();
    this.#reader = new EntryReader(bucket.where, this.#promised, this.#windows);
  }

  /**
   * Opens what a lazy clone knows of its bucket: without a request, unless an index has been lost.
   * @throws ImgstoreError `REMOTE_…`, `DAMAGED`, `IO`
   */
  static async open(options: LazyOptions): Promise<LazyObjects> {
    const objects = new LazyObjects(options);
    await objects.renew();
    return objects;
  }

  async renew(): Promise<void> {
    const { bucket, place, rules } = this.#options;
    const stamp = stampOf(place.packList);
    let packs = await readPackList(place.packList);
    if (packs === undefined) {
      packs = await newestPacks(bucket);
      await writePackList(place.packList, packs, rules);
    }
    try {
      await this.#promised.use(packs);
    } catch (error) {
      // A fetch beside this has removed indexes that its newer list has no more, and the bucket does not have them either.
      if (!isImgstoreError(error, 'NOT_FOUND') || stampOf(place.packList) === stamp) throw error;
      return this.renew();
    }
    this.#listStamp = stamp;
    this.#reader = new EntryReader(bucket.where, this.#promised, this.#windows);
    this.#renewed?.close();
    this.#renewed = undefined;
  }

  get copies(): LooseObjects {
    return this.#copies.loose;
  }

  has(id: ObjectId): boolean {
    return this.#promised.has(id);
  }

  held(id: ObjectId): GitObject | undefined {
    return this.#held.get(id);
  }

  async bring(ids: readonly ObjectId[]): Promise<void> {
    const missing = [...new Set(ids)].filter(
      (id) => this.#held.get(id) === undefined && !this.#copies.use(id),
    );
    await this.#lookForOthers(missing);
    const known = missing.filter((id) => this.has(id));
    for (let first = 0; first < known.length; first += MOST_AT_ONCE) {
      const some = known.slice(first, first + MOST_AT_ONCE);
      this.#refuseDown(some[0]!);
      this.#reader.prepare(some);
      await allDone(some.map((id) => this.#bringOne(id)));
    }
  }

  async hold(ids: readonly ObjectId[]): Promise<void> {
    for (const id of ids) this.#held.add(id, this.#wholeCopy(id) ?? (await this.#readWhole(id)));
  }

  async close(): Promise<void> {
    this.#promised.close();
    this.#renewed?.close();
    await this.#options.bucket.close();
  }

  /** A copy of an object; one that is damaged goes. */
  #wholeCopy(id: ObjectId): GitObject | undefined {
    try {
      return this.copies.read(id);
    } catch (error) {
      if (!isImgstoreError(error, 'DAMAGED')) throw error;
      this.#copies.drop(id);
      return undefined;
    }
  }

  async #readWhole(id: ObjectId): Promise<GitObject> {
    this.#refuseDown(id);
    return this.#asking(id, () => this.#reader.read(id));
  }

  async #bringOne(id: ObjectId): Promise<void> {
    const { type, size, deflated } =
      (await this.#asking(id, () => this.#reader.readDeflated(id))) ?? (await this.#deflateWhole(id));
    const file = looseFromDeflated(type, size, deflated);
    if (!this.#keep(id, file)) this.#held.add(id, parseLoose(file));
  }

  async #deflateWhole(id: ObjectId): Promise<DeflatedObject> {
    const { type, data } = await this.#readWhole(id);
    return { type, size: data.length, deflated: codecs().deflate.deflate(data, FASTEST) };
  }

  /** Returns whether there is a copy now: a full disk must not keep anybody from reading. */
  #keep(id: ObjectId, file: Uint8Array): boolean {
    try {
      return this.#copies.put(id, file);
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      if (this.#isKeeping)
        this.#options.onNotice?.(
          `${error.message}: clusters that are read of ${this.#options.bucket.where} are not kept: they will be fetched again`,
        );
      this.#isKeeping = false;
      return false;
    }
  }

  /** Asks the bucket for an object, and once more when its pack has gone. */
  async #asking<T>(id: ObjectId, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask().catch(async (error: unknown) => {
        if (!isImgstoreError(error, 'NOT_FOUND')) throw error;
        this.#renewal ??= this.#lookAgain().finally(() => {
          this.#renewal = undefined;
        });
        await this.#renewal;
        return ask();
      });
    } catch (error) {
      if (!isImgstoreError(error, 'REMOTE_UNREACHABLE')) throw error;
      this.#down = { until: performance.now() + DOWN_MS, error };
      throw this.#notHere(id, error);
    }
  }

  #refuseDown(id: ObjectId): void {
    if (this.#down === undefined) return;
    if (performance.now() < this.#down.until) throw this.#notHere(id, this.#down.error);
    this.#down = undefined;
  }

  /** The bucket's `gc` puts objects into other packs, and removes the old ones later. What is new there is not counted in before a fetch brings the maps that lead to it. */
  async #lookAgain(): Promise<void> {
    const { bucket } = this.#options;
    this.#renewed ??= this.#newIndexes();
    await this.#renewed.use(await newestPacks(bucket));
    this.#reader = new EntryReader(bucket.where, this.#renewed, this.#windows);
  }

  /** Another process may have fetched since the list was read. */
  async #lookForOthers(ids: readonly ObjectId[]): Promise<void> {
    if (ids.every((id) => this.has(id))) return;
    if (stampOf(this.#options.place.packList) !== this.#listStamp) await this.renew();
  }

  #newIndexes(): RemoteIndexes {
    const { bucket, place, rules } = this.#options;
    return new RemoteIndexes(bucket, place.indexes, rules);
  }

  #notHere(id: ObjectId, error: ImgstoreError): ImgstoreError {
    return new ImgstoreError(
      'REMOTE_UNREACHABLE',
      `object ${id} was not read here before, and its remote does not answer: ${error.message}: try again when it does`,
      { ...error.data, id },
      error,
    );
  }
}

async function newestPacks(bucket: Bucket): Promise<RemotePack[]> {
  const { content } = await new RemoteStates(bucket).newest();
  return [...content.packs.values()];
}

/** Tells a file from the one that replaces it; undefined when there is none. */
function stampOf(path: string): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false, bigint: true });
  return stats && `${stats.ino} ${stats.mtimeNs} ${stats.size}`;
}
