import { ImgstoreError } from '../../errors/index.ts';
import type { Bucket, BucketBody, BucketEntry, BucketRange, BucketTraffic } from '../bucket/bucket.ts';
import { hiddenFolder, hiddenName } from './hidden-name.ts';
import type { AgeKeys } from './keys.ts';
import { NamesSecret } from './names-secret.ts';
import { SealedObjects } from './sealed-objects.ts';

/**
 * A bucket whose objects are all age files. Below `packs/` and `checkpoints/` names are hidden: {@link Bucket.stored} gives the name in the
 * bucket, by which {@link Bucket.list} lists and which all methods take as well, so that what is listed can be compared with names that are
 * known, and removed without knowing its own. The order of hidden names says nothing.
 *
 * Sizes of `stat` are those of the plaintext; sizes of `list` are those in the bucket, since the plaintext's would take a request for each.
 *
 * What is read was authenticated: bytes come from who has the recipients, in their order, and to their end. That an object is the one that
 * was put under the name is for the caller to see.
 *
 * @throws ImgstoreError of the methods: those of the bucket, and `WRONG_KEY`, `DAMAGED`, and `REMOTE_FAILED` for what is not encrypted;
 *   of the function, the same for the secret of the names, if it is there.
 */
export async function encryptedBucket(bucket: Bucket, keys: AgeKeys): Promise<Bucket> {
  const objects = new SealedObjects(bucket, keys);
  const secret = new NamesSecret(bucket, objects);
  await secret.read();
  return new EncryptedBucket(bucket, objects, secret);
}

class EncryptedBucket implements Bucket {
  readonly where: string;
  readonly server?: string;
  readonly #bucket: Bucket;
  readonly #objects: SealedObjects;
  readonly #secret: NamesSecret;

  constructor(bucket: Bucket, objects: SealedObjects, secret: NamesSecret) {
    this.where = bucket.where;
    if (bucket.server !== undefined) this.server = bucket.server;
    this.#bucket = bucket;
    this.#objects = objects;
    this.#secret = secret;
  }

  get traffic(): BucketTraffic {
    return this.#bucket.traffic;
  }

  stored(name: string): string {
    const secret = this.#secret.known;
    if (hiddenFolder(name) === undefined) return name;
    if (secret === undefined) throw this.#secret.gone();
    return hiddenName(secret, name);
  }

  async get(name: string, range?: BucketRange): Promise<Uint8Array> {
    return this.#objects.get(await this.#requireStored(name), range);
  }

  async *read(name: string, offset?: number): AsyncGenerator<Uint8Array> {
    yield* this.#objects.read(await this.#requireStored(name), offset);
  }

  async put(name: string, body: BucketBody): Promise<void> {
    await this.#objects.put(hiddenName(await this.#secret.make(), name), body);
  }

  async putNew(name: string, body: Uint8Array): Promise<boolean> {
    return this.#objects.putNew(hiddenName(await this.#secret.make(), name), body);
  }

  async stat(name: string): Promise<BucketEntry | undefined> {
    const stored = await this.#findStored(name);
    const entry = stored === undefined ? undefined : await this.#bucket.stat(stored);
    return entry && { ...entry, name, size: await this.#objects.size(entry.name, entry.size) };
  }

  list(prefix: string, most?: number): AsyncIterable<BucketEntry> {
    if (hiddenFolder(prefix) !== undefined) {
      throw new ImgstoreError(
        'UNSUPPORTED',
        `${this.where}: ${prefix}: hidden names cannot be listed by their beginnings: list the whole folder`,
      );
    }
    return this.#bucket.list(prefix, most);
  }

  async remove(names: readonly string[]): Promise<void> {
    const stored = await Promise.all(names.map((name) => this.#findStored(name)));
    await this.#objects.remove(stored.filter((name) => name !== undefined));
  }

  async close(): Promise<void> {
    await this.#bucket.close();
  }

  /** The name of an object in the bucket; undefined for one that cannot be there, as nobody has written. */
  async #findStored(name: string): Promise<string | undefined> {
    if (hiddenFolder(name) === undefined) return name;
    const secret = await this.#secret.read();
    return secret && hiddenName(secret, name);
  }

  async #requireStored(name: string): Promise<string> {
    const stored = await this.#findStored(name);
    if (stored === undefined) throw new ImgstoreError('NOT_FOUND', `${this.where}: ${name}: no such object`);
    return stored;
  }
}
