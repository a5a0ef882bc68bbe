import { randomBytes } from 'node:crypto';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import type { Bucket } from '../bucket/bucket.ts';
import type { SealedObjects } from './sealed-objects.ts';

/** The object with the secret by which names are hidden. */
export const NAMES_SECRET = 'keys/names.age';

const SECRET_BYTES = 32;

/** What a bucket has in which somebody has written. */
const WRITTEN = ['states/', 'packs/', 'checkpoints/'];

/** The secret by which the names in a bucket are hidden; made by who writes first. Of many who do so at once one makes it. */
export class NamesSecret {
  readonly #bucket: Bucket;
  readonly #objects: SealedObjects;
  #secret: Uint8Array | undefined;
  #making: Promise<Uint8Array> | undefined;

  constructor(bucket: Bucket, objects: SealedObjects) {
    this.#bucket = bucket;
    this.#objects = objects;
  }

  /** The secret, if it has been read. */
  get known(): Uint8Array | undefined {
    return this.#secret;
  }

  /** The secret, undefined while nobody has written. @throws ImgstoreError `WRONG_KEY`, `REMOTE_…`, `DAMAGED`. */
  async read(): Promise<Uint8Array | undefined> {
    this.#secret ??= await this.#readObject();
    return this.#secret;
  }

  /** The secret, made when there is none. @throws ImgstoreError `DAMAGED` when it is gone from a bucket in which there is something; otherwise as {@link read}. */
  async make(): Promise<Uint8Array> {
    if (this.#secret !== undefined) return this.#secret;
    this.#making ??= this.#readOrPut().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  /** Why nothing can be said about hidden names. */
  gone(): ImgstoreError {
    return new ImgstoreError(
      'DAMAGED',
      `${this.#bucket.where}: ${NAMES_SECRET} is not there, without which no pack can be found by its name: put it back from a copy of the bucket; one that was never encrypted is used without keys`,
      { name: NAMES_SECRET },
    );
  }

  async #readOrPut(): Promise<Uint8Array> {
    const secret = (await this.read()) ?? (await this.#putUnlessWritten());
    this.#secret = secret;
    return secret;
  }

  async #putUnlessWritten(): Promise<Uint8Array> {
    if (await this.#isWritten()) {
      // Another writer may have put both between the two looks.
      const other = await this.read();
      if (other === undefined) throw this.gone();
      return other;
    }
    const secret = randomBytes(SECRET_BYTES);
    if (await this.#objects.putNew(NAMES_SECRET, secret)) return secret;
    const winner = await this.read();
    if (winner === undefined) throw this.gone();
    return winner;
  }

  async #isWritten(): Promise<boolean> {
    for (const folder of WRITTEN) {
      for await (const _ of this.#bucket.list(folder, 1)) return true;
    }
    return false;
  }

  async #readObject(): Promise<Uint8Array | undefined> {
    const secret = await this.#objects.get(NAMES_SECRET).catch((error: unknown) => {
      if (isImgstoreError(error, 'NOT_FOUND')) return undefined;
      throw error;
    });
    if (secret === undefined || secret.length === SECRET_BYTES) return secret;
    throw new ImgstoreError(
      'DAMAGED',
      `${this.#bucket.where}: ${NAMES_SECRET}: has ${secret.length} bytes in it, not ${SECRET_BYTES}: put it back from a copy of the bucket`,
      { name: NAMES_SECRET },
    );
  }
}
