import { allDone } from '../../../block/index.ts';
import { makeFolder } from '../../../files/index.ts';
import { MemoryPack, type PackableObject } from '../../../pack/index.ts';
import {
  type BucketTraffic,
  beginRemote,
  bytesBody,
  newUpload,
  type RemoteSnapshot,
} from '../../../remote/index.ts';
import type { ContentKind, NewObjects } from '../../objects/new-objects.ts';
import type { Monitor } from '../../progress.ts';
import type { BucketRemote } from './bucket-remote.ts';
import { noteSent, type SentPack, UploadJournal } from './journal.ts';
import { putPack } from './put-pack.ts';

/** Bytes of memory that a pack is made in: half of what a push makes of files. */
const PACK_MEMORY = 32 * 2 ** 20;
/** One of each kind is filled, and three are on their way. */
const MOST_PACKS = 5;

interface Waiting {
  readonly object: PackableObject;
  readonly kind: ContentKind;
}

/** A pack that is not full yet. */
interface Filling {
  readonly memory: Buffer;
  readonly pack: MemoryPack;
}

/**
 * Sends objects while they are being stored, so that the network does not wait for the disk. What comes faster than it can be sent is left to the push, and so is what could not be sent; who stores never waits.
 *
 * Nothing leads to what was sent before a push has taken it. Where none does, it is noted in the journal for the next one, and `gc` removes it after some days.
 */
export class EarlyUploads implements NewObjects {
  /** What had gone over the network before the first of them. */
  readonly before: BucketTraffic;
  /** Resolved when it is known what the bucket has; never rejected. */
  readonly ready: Promise<void>;
  /** The number of the newest state before anything was sent; undefined when nothing was. */
  since: number | undefined;
  readonly #remote: BucketRemote;
  readonly #packMemory: number;
  /** Copies of objects that came before it was known what the bucket has; undefined since. */
  #waiting: Waiting[] | undefined = [];
  #waitingBytes = 0;
  readonly #free: Buffer[] = [];
  #made = 0;
  readonly #filling = new Map<ContentKind, Filling>();
  readonly #running = new Set<Promise<void>>();
  readonly #sent: SentPack[] = [];
  #begunBytes = 0;
  #isOver = false;

  /**
   * @param seen the bucket's newest state, when it is known; undefined where there is no remote yet
   * @param packMemory bytes of each of five pieces of memory, and of what waits for `seen`
   */
  constructor(
    remote: BucketRemote,
    seen: Promise<RemoteSnapshot | undefined>,
    packMemory: number = PACK_MEMORY,
  ) {
    this.before = { ...remote.bucket.traffic };
    this.#remote = remote;
    this.#packMemory = packMemory;
    // What is wrong is said by the push, which meets it again.
    this.ready = this.#begin(seen).catch(() => this.#giveUp());
  }

  take(object: PackableObject, kind: ContentKind): void {
    if (this.#isOver) return;
    try {
      if (this.#waiting === undefined) this.#add(object, kind);
      else this.#wait(this.#waiting, object, kind);
    } catch {
      // An index that cannot be read, or no memory: who stores has nothing to do with it.
      this.#giveUp();
    }
  }

  #wait(waiting: Waiting[], object: PackableObject, kind: ContentKind): void {
    this.#waitingBytes += object.deflated.length;
    if (this.#waitingBytes > this.#packMemory) return;
    waiting.push({ object: { ...object, deflated: Buffer.from(object.deflated) }, kind });
  }

  /** Sends what has come last. */
  end(): void {
    void this.ready.then(() => this.#closeAll());
  }

  /** Waits until all is sent that could be. @returns the packs that the bucket has now. */
  async finish({ onProgress }: Monitor = {}): Promise<readonly SentPack[]> {
    await this.ready;
    this.#closeAll();
    while (this.#running.size > 0) {
      await Promise.race(this.#running);
      const done = this.#sent.reduce((sum, { row }) => sum + row.bytes, 0);
      onProgress?.({ done, total: this.#begunBytes });
    }
    this.#giveUp();
    return this.#sent;
  }

  async #begin(seen: Promise<RemoteSnapshot | undefined>): Promise<void> {
    const { bucket, indexes, place, states, store } = this.#remote;
    let newest = await seen;
    // Before anything else is there.
    if (newest === undefined) await beginRemote(bucket);
    newest ??= await states.newest();
    await makeFolder('remote-index', place.indexes, store.rules);
    this.since = newest.number;
    // Of a commit that was broken off.
    const journal = await UploadJournal.open(store, place.journal, bucket, newest.content);
    await indexes.use([...newest.content.packs.values(), ...journal.packs]);
    for (const { object, kind } of this.#waiting ?? []) this.#add(object, kind);
    this.#waiting = undefined;
  }

  #add(object: PackableObject, kind: ContentKind): void {
    if (this.#remote.indexes.hasAs(object.id, kind)) return;
    if (this.#fillingOf(kind)?.pack.add(object) !== false) return;
    this.#close(kind);
    // One that is larger than all of a pack is left too.
    this.#fillingOf(kind)?.pack.add(object);
  }

  /** Undefined while all memory is in use: then objects are left. */
  #fillingOf(kind: ContentKind): Filling | undefined {
    let filling = this.#filling.get(kind);
    if (filling !== undefined) return filling;
    let memory = this.#free.pop();
    if (memory === undefined && this.#made < MOST_PACKS) {
      memory = Buffer.allocUnsafeSlow(this.#packMemory);
      this.#made++;
    }
    if (memory === undefined) return undefined;
    filling = { memory, pack: new MemoryPack(memory) };
    this.#filling.set(kind, filling);
    return filling;
  }

  #closeAll(): void {
    for (const kind of this.#filling.keys()) this.#close(kind);
  }

  #close(kind: ContentKind): void {
    const filled = this.#filling.get(kind);
    this.#filling.delete(kind);
    if (filled === undefined) return;
    if (filled.pack.count === 0) {
      this.#free.push(filled.memory);
      return;
    }
    const running: Promise<void> = this.#send(filled.pack, kind)
      // The push sends it, or says why that cannot be.
      .catch(() => this.#giveUp())
      .finally(() => {
        this.#free.push(filled.memory);
        this.#running.delete(running);
      });
    this.#running.add(running);
  }

  async #send(made: MemoryPack, kind: ContentKind): Promise<void> {
    const { bucket, indexes, place, store } = this.#remote;
    const sentMs = Date.now();
    const { checksum, count, sha256, pack, idx } = made.finish();
    this.#begunBytes += pack.length;
    const row = {
      ...newUpload(checksum),
      kind,
      bytes: pack.length,
      indexBytes: idx.length,
      objects: count,
    };
    await allDone([putPack(bucket, row, bytesBody(pack, sha256), idx), indexes.keep(row.pack, idx)]);
    await noteSent(store, place.journal, { row, sentMs });
    this.#sent.push({ row, sentMs });
  }

  #giveUp(): void {
    this.#isOver = true;
    this.#waiting = undefined;
    this.#filling.clear();
    // A push may take hours.
    this.#free.length = 0;
  }
}
