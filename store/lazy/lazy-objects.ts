import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { type FileRules, writeWholeFile } from '../../files/index.ts';
import { isId, type LooseObjects, type ObjectId } from '../../objects/index.ts';
import { type Bucket, RemoteIndexes, type RemotePack, RemoteStates } from '../../remote/index.ts';
import type { PromisedObjects } from '../objects/promised.ts';
import type { BucketPlace } from '../remote/bucket/place.ts';
import { ClusterStore } from './cluster-store.ts';
import { EntryReader } from './entry-reader.ts';
import { RemoteWindows } from './remote-windows.ts';

/** Objects that are fetched and written at the same time. */
const MOST_AT_ONCE = 32;

/** The objects of a lazy clone that stay in the bucket it was made from until somebody reads them. */
export class LazyObjects implements PromisedObjects {
  readonly #bucket: Bucket;
  readonly #place: BucketPlace;
  readonly #rules: FileRules;
  readonly #indexes: RemoteIndexes;
  readonly #reader: EntryReader;
  readonly #copies: ClusterStore;
  /** What is on its way, for all who wait for it. */
  readonly #coming = new Map<ObjectId, Promise<void>>();
  #renewal: Promise<void> | undefined;

  private constructor(bucket: Bucket, place: BucketPlace, rules: FileRules, mostBytes: number) {
    this.#bucket = bucket;
    this.#place = place;
    this.#rules = rules;
    this.#indexes = new RemoteIndexes(bucket, place.indexes, rules);
    this.#reader = new EntryReader(bucket.where, this.#indexes, new RemoteWindows(bucket));
    this.#copies = new ClusterStore(place.cache, mostBytes);
  }

  /**
   * Opens what a lazy clone knows of its bucket: without a request, unless an index has been lost.
   * @param mostBytes of copies of what was read
   * @throws ImgstoreError `REMOTE_…`, `DAMAGED`, `IO`
   */
  static async open(
    bucket: Bucket,
    place: BucketPlace,
    rules: FileRules,
    mostBytes: number,
  ): Promise<LazyObjects> {
    const objects = new LazyObjects(bucket, place, rules, mostBytes);
    await objects.renew();
    return objects;
  }

  async renew(): Promise<void> {
    const packs = await readPackList(this.#place.packList);
    if (packs === undefined) await this.#lookAgain();
    else await this.#indexes.use(packs);
  }

  get copies(): LooseObjects {
    return this.#copies.loose;
  }

  has(id: ObjectId): boolean {
    return this.#indexes.has(id);
  }

  async bring(ids: readonly ObjectId[]): Promise<void> {
    for (let first = 0; first < ids.length; first += MOST_AT_ONCE) {
      const some = ids.slice(first, first + MOST_AT_ONCE);
      const outcomes = await Promise.allSettled(some.map((id) => this.#bringOne(id)));
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    }
  }

  async bringAgain(ids: readonly ObjectId[]): Promise<void> {
    for (const id of ids) await this.#copies.drop(id);
    await this.bring(ids);
  }

  async close(): Promise<void> {
    this.#indexes.close();
    await this.#bucket.close();
  }

  #bringOne(id: ObjectId): Promise<void> {
    let coming = this.#coming.get(id);
    if (coming === undefined) {
      coming = this.#fetch(id).finally(() => this.#coming.delete(id));
      this.#coming.set(id, coming);
    }
    return coming;
  }

  async #fetch(id: ObjectId): Promise<void> {
    if (await this.#copies.use(id)) return;
    try {
      await this.#copies.put(
        await this.#reader.read(id).catch((error: unknown) => this.#readAnew(id, error)),
      );
    } catch (error) {
      throw isImgstoreError(error, 'REMOTE_UNREACHABLE') ? notHere(id, error) : error;
    }
  }

  /** The bucket's `gc` puts objects into other packs, and removes the old ones later. */
  async #readAnew(id: ObjectId, error: unknown) {
    if (!isImgstoreError(error, 'NOT_FOUND')) throw error;
    this.#renewal ??= this.#lookAgain().finally(() => {
      this.#renewal = undefined;
    });
    await this.#renewal;
    return this.#reader.read(id);
  }

  async #lookAgain(): Promise<void> {
    const { content } = await new RemoteStates(this.#bucket).newest();
    const packs = [...content.packs.values()];
    await this.#indexes.use(packs);
    await writePackList(this.#place.packList, packs, this.#rules);
  }
}

/** Which packs a lazy clone's bucket had when it was looked at last. @throws ImgstoreError `IO`. */
export async function writePackList(
  path: string,
  packs: readonly RemotePack[],
  { sharing }: FileRules,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeWholeFile('remote-packs', path, Buffer.from(JSON.stringify(packs)), sharing);
}

/** Undefined when it is lost. */
async function readPackList(path: string): Promise<readonly RemotePack[] | undefined> {
  try {
    return (JSON.parse(await readFile(path, 'utf8')) as RemotePack[]).filter(({ pack }) => isId(pack));
  } catch {
    return undefined;
  }
}

function notHere(id: ObjectId, error: ImgstoreError): ImgstoreError {
  return new ImgstoreError(
    'REMOTE_UNREACHABLE',
    `object ${id} was never read here, and its remote cannot be asked: ${error.message}`,
    { ...error.data, id },
    error,
  );
}
