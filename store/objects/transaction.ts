import {
  codecs,
  LooseBatch,
  looseFromDeflated,
  type ObjectId,
  type ObjectType,
  objectId,
} from '../../objects/index.ts';
import type { PackableObject } from '../../pack/index.ts';
import type { Announcement } from '../work/announcement.ts';
import type { ObjectDatabase } from './database.ts';
import { Freshener } from './freshener.ts';
import type { ContentKind, NewObjects } from './new-objects.ts';
import { PackSeries } from './pack-series.ts';

/** Deflated bytes that wait for the decision between loose files and a pack; beyond it, a pack. */
const MOST_WAITING_BYTES = 32 * 1024 * 1024;

export interface TransactionOptions {
  /** From this many new objects on they go into a pack, below it into loose files. */
  readonly unpackLimit: number;
  /** zlib level, 0 to 9. */
  readonly compression: number;
  readonly newObjects?: NewObjects | undefined;
}

/**
 * The new objects of one operation: gathered under temporary names, visible all at once by {@link ObjectTransaction.publish},
 * gone without trace by {@link ObjectTransaction.discard}.
 *
 * Few objects become loose files; many stream into packs as they come (git calls it bulk check-in), so memory does not grow with
 * what is stored.
 */
export class ObjectTransaction {
  readonly #database: ObjectDatabase;
  readonly #options: TransactionOptions;
  readonly #announcement: Announcement;
  readonly #freshener: Freshener;
  /** Ids that this transaction stores, as far as no finished pack of its own knows them. */
  readonly #claimed = new Set<ObjectId>();
  #waiting: PackableObject[] = [];
  #waitingBytes = 0;
  readonly #packs: PackSeries;
  readonly #loose: LooseBatch;
  #newObjects = 0;
  #storedBytes = 0;

  /** @param announcement says so to `gc`; it is withdrawn when the transaction is done with */
  constructor(database: ObjectDatabase, announcement: Announcement, options: TransactionOptions) {
    this.#database = database;
    this.#announcement = announcement;
    this.#freshener = new Freshener(database, () => announcement.now());
    this.#options = options;
    this.#packs = new PackSeries(database.packs.folder, database.rules);
    this.#loose = new LooseBatch(database.loose);
  }

  /** Number of objects that were not in the store before. */
  get newObjects(): number {
    return this.#newObjects;
  }

  /** Bytes that they take on disk, with indexes; complete after {@link ObjectTransaction.publish}. */
  get storedBytes(): number {
    return this.#storedBytes;
  }

  /**
   * True when the cluster is neither in the store, nor elsewhere and promised, nor claimed: the caller must then {@link ObjectTransaction.add} it. One that is in the store is made young, as
   * it is about to be used again.
   */
  claim(id: ObjectId): boolean {
    return !this.#isHere(id) && !this.#database.isPromised(id) && this.#take(id);
  }

  /** Adds a claimed cluster; its bytes are copied, so the caller may use their memory again. */
  add(cluster: PackableObject): Promise<void> {
    return this.#add(cluster, 'data');
  }

  async #add(object: PackableObject, kind: ContentKind): Promise<void> {
    this.#newObjects++;
    this.#options.newObjects?.take(object, kind);
    if (!this.#packs.isBegun) {
      this.#waiting.push({ ...object, deflated: Buffer.from(object.deflated) });
      this.#waitingBytes += object.deflated.length;
      if (this.#waiting.length < this.#options.unpackLimit && this.#waitingBytes < MOST_WAITING_BYTES) return;
      for (const each of this.#waiting.splice(0)) await this.#pack(each);
    } else {
      await this.#pack(object);
    }
  }

  /** Stores an object, unless it is in the store itself, and returns its id: what leads to clusters is read where nobody waits for what is elsewhere. */
  async put(type: ObjectType, data: Uint8Array): Promise<ObjectId> {
    const id = objectId(type, data);
    if (!this.#isHere(id) && this.#take(id)) {
      const deflated = codecs().deflate.deflate(data, this.#options.compression);
      await this.#add({ id, type, size: data.length, deflated }, 'maps');
    }
    return id;
  }

  /** Makes all objects durable and visible. @throws ImgstoreError `IO`; call {@link ObjectTransaction.discard} then. */
  async publish(): Promise<void> {
    if (!this.#packs.isBegun) {
      const files = this.#waiting.map(({ id, type, size, deflated }) => ({
        id,
        file: looseFromDeflated(type, size, deflated),
      }));
      await this.#loose.write(files);
      this.#storedBytes += files.reduce((sum, { file }) => sum + file.length, 0);
    }
    this.#waiting = [];
    this.#storedBytes += await this.#packs.publish();
    await this.#loose.publish();
    if (this.#packs.isBegun) this.#database.packs.refresh();
  }

  /** Ends the transaction, after refs lead to what was published: removes what was not. Never throws. */
  async discard(): Promise<void> {
    await this.#packs.discard();
    await this.#loose.discard();
    this.#announcement.withdraw();
  }

  #isHere(id: ObjectId): boolean {
    return this.#claimed.has(id) || this.#packs.has(id) || this.#freshener.keep(id);
  }

  #take(id: ObjectId): true {
    this.#claimed.add(id);
    return true;
  }

  async #pack(object: PackableObject): Promise<void> {
    const closed = await this.#packs.add(object);
    if (closed === undefined) return;
    // Claimed ids that are still being deflated stay; those in the pack are found there.
    for (const id of this.#claimed) if (closed.has(id)) this.#claimed.delete(id);
  }
}
