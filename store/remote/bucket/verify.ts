import { isImgstoreError } from '../../../errors/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import { packName, type RemotePack, type RemoteSnapshot } from '../../../remote/index.ts';
import { type Monitor, throwIfStopped } from '../../progress.ts';
import type { ClusterWorkers } from '../../workers/pool.ts';
import { verifyPack } from '../verify-pack.ts';
import type { BucketRemote } from './bucket-remote.ts';
import { findLost } from './find-lost.ts';
import type { Incoming } from './incoming.ts';
import { type BucketLook, lookThrough } from './look-through.ts';
import { PartialPack } from './partial-pack.ts';
import { repairBucket } from './repair.ts';

/** Objects that are told of by name: that there are more shows in the count. */
const MOST_NAMED = 100;

export interface RemoteDamage {
  /** Name of the object in the bucket. */
  readonly name: string;
  readonly reason: string;
}

export interface RemoteVerdict {
  /** The bucket. */
  readonly remote: string;
  readonly packs: number;
  readonly objects: number;
  /** Objects whose bytes were read and hashed. */
  readonly checked: number;
  readonly damaged: readonly RemoteDamage[];
  /** What refs lead to and no whole pack has, the first hundred. */
  readonly missing: readonly ObjectId[];
  readonly missingCount: number;
  /** Objects that were sent again; undefined without a repair. */
  readonly repaired?: number | undefined;
  /** Nothing is damaged or missing, or is so any more. */
  readonly clean: boolean;
}

export interface BucketCheckRequest {
  /** Of clusters that are read, chosen by chance: 0 to 1. */
  readonly share: number;
  /** Sends again what is lost, from the store. */
  readonly repair: boolean;
}

/**
 * Looks whether a bucket holds what its refs lead to, without a copy of it here: maps whole, of clusters all or some. One pack at a time is on this machine, and all those of maps.
 * @throws ImgstoreError `REMOTE_…`, `WRONG_KEY`, `INTERRUPTED`, `BUSY`, `IO`
 */
export async function verifyBucket(
  remote: BucketRemote,
  request: BucketCheckRequest,
  monitor: Monitor,
): Promise<RemoteVerdict> {
  try {
    return await lookThrough(remote, monitor, (look) => verify(remote, look, request, monitor));
  } finally {
    remote.indexes.close();
  }
}

async function verify(
  remote: BucketRemote,
  { incoming, workers }: BucketLook,
  { share, repair }: BucketCheckRequest,
  monitor: Monitor,
): Promise<RemoteVerdict> {
  // What a killed one has left says nothing of the bucket now.
  await incoming.clear();
  const snapshot = await remote.states.newest();
  const check = new BucketCheck(remote, incoming, workers, share, monitor);
  await check.run(snapshot);
  const isDamaged = check.damaged.length > 0;
  const checked = { snapshot, incoming };
  const { sent, lost: missing } = repair
    ? await repairBucket(remote, checked, check.damagedRows, monitor)
    : { ...(await findLost(remote, checked, false, monitor)), sent: undefined };
  const rows = [...snapshot.content.packs.values()];
  return {
    remote: remote.bucket.where,
    packs: rows.length,
    objects: rows.reduce((sum, { objects }) => sum + objects, 0),
    checked: check.checked,
    damaged: check.damaged,
    missing: missing.slice(0, MOST_NAMED),
    missingCount: missing.length,
    ...(sent === undefined ? {} : { repaired: sent }),
    clean: missing.length === 0 && (!isDamaged || sent !== undefined),
  };
}

class BucketCheck {
  readonly damaged: RemoteDamage[] = [];
  readonly damagedRows: RemotePack[] = [];
  /** Objects that were read. */
  checked = 0;
  readonly #remote: BucketRemote;
  readonly #incoming: Incoming;
  readonly #workers: ClusterWorkers;
  readonly #share: number;
  readonly #monitor: Monitor;

  constructor(
    remote: BucketRemote,
    incoming: Incoming,
    workers: ClusterWorkers,
    share: number,
    monitor: Monitor,
  ) {
    this.#remote = remote;
    this.#incoming = incoming;
    this.#workers = workers;
    this.#share = share;
    this.#monitor = monitor;
  }

  /** Reads packs; those that are whole are in use as indexes afterwards. */
  async run({ content }: RemoteSnapshot): Promise<void> {
    const { indexes } = this.#remote;
    const whole: RemotePack[] = [];
    const rows = [...content.packs.values()];
    const total = rows.reduce((sum, { bytes }) => sum + bytes, 0);
    let done = 0;
    for (const row of rows) {
      throwIfStopped(this.#monitor);
      const isWhole = await this.#attempt(row, async () => {
        await indexes.check(row);
        await indexes.use([row]);
        this.checked += await this.#read(row);
      });
      if (isWhole) whole.push(row);
      done += row.bytes;
      this.#monitor.onProgress?.({ done, total });
    }
    await indexes.use(whole);
  }

  async #read(row: RemotePack): Promise<number> {
    if (row.kind === 'maps' || this.#share >= 1) {
      await this.#incoming.fetch(row);
      if (row.kind === 'data') await this.#incoming.drop(row);
      return row.objects;
    }
    return this.#readSome(row);
  }

  async #readSome(row: RemotePack): Promise<number> {
    const partial = await PartialPack.create(this.#remote, row, await this.#incoming.folder());
    try {
      const { idx } = partial.pack;
      const isAsked = Uint8Array.from({ length: idx.count }, () => Number(Math.random() < this.#share));
      const offsets: number[] = [];
      for (const [position, asked] of isAsked.entries()) if (asked === 1) offsets.push(idx.offset(position));
      await partial.fetch(offsets);
      return await verifyPack(
        partial.pack,
        this.#workers,
        this.#monitor,
        (position) => isAsked[position] === 1,
      );
    } finally {
      await partial.remove();
    }
  }

  async #attempt(row: RemotePack, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!isImgstoreError(error, 'DAMAGED') && !isImgstoreError(error, 'NOT_FOUND')) throw error;
      this.damagedRows.push(row);
      this.damaged.push({ name: packName(row), reason: error.message });
      return false;
    }
  }
}
