import { isImgstoreError } from '../../errors/index.ts';
import { NULL_ID, type ObjectId } from '../../objects/index.ts';
import { Pack } from '../../pack/index.ts';
import { currentPerson } from '../person.ts';
import { TAGS } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { Announcement } from '../work/announcement.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { type OutgoingPack, writeOutgoing } from './bucket/outgoing.ts';
import { markMissing } from './mark-missing.ts';
import { Quarantine } from './quarantine.ts';
import { keepShared } from './shared-refs.ts';
import type {
  PushSummary,
  RemoteRefs,
  RemoteTransport,
  RemoteUpdate,
  RemoteUpdateResult,
  TransferOptions,
  TransferSummary,
} from './transport.ts';
import { verifyPack } from './verify-pack.ts';

/**
 * Another store of this machine. Its packs are copied as they are, by links where both are on one file system, and checked to the last object; nothing is deflated or searched for deltas, and no other
 * program takes part.
 */
export class LocalTransport implements RemoteTransport {
  readonly where: string;
  readonly #store: Store;
  readonly #other: Store;

  /** @param other is closed with this */
  constructor(store: Store, other: Store) {
    this.#store = store;
    this.#other = other;
    this.where = other.folder;
  }

  async refs(): Promise<RemoteRefs> {
    const { objects, refs } = this.#other;
    const all = await refs.list();
    const tags = all.filter(({ name, id }) => name.startsWith(TAGS) && objects.has(id));
    const peeled = new Map(tags.map(({ name, id }) => [name, objects.peel(id)]));
    return keepShared({ refs: all, peeled, head: await refs.symbolicTarget('HEAD') });
  }

  async fetch(wanted: readonly ObjectId[], options: TransferOptions = {}): Promise<TransferSummary> {
    const reading = this.#other.announceReading(wanted);
    try {
      return await transfer(this.#other, this.#store, wanted, options);
    } finally {
      reading?.withdraw();
    }
  }

  async push(updates: readonly RemoteUpdate[], options: TransferOptions = {}): Promise<PushSummary> {
    const other = this.#other;
    const announcement = Announcement.make(other.folder, other.rules, 'writes');
    try {
      // From here on its `gc` lets be what is there; what it has removed since the store was opened has to go over.
      other.objects.packs.refresh();
      const wanted = updates.map(({ after }) => after).filter((id) => id !== NULL_ID);
      const summary = await transfer(this.#store, other, wanted, options);
      const results: RemoteUpdateResult[] = [];
      for (const update of updates) results.push(await this.#move(update));
      return { ...summary, results };
    } finally {
      announcement.withdraw();
    }
  }

  async close(): Promise<void> {
    this.#other.close();
  }

  async #move({ name, before, after }: RemoteUpdate): Promise<RemoteUpdateResult> {
    const person = currentPerson('committer', this.#store.config);
    try {
      await this.#other.refs.update({ name, before, after, person, message: 'push' });
      return { name };
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      const isMoved = error.code === 'REF_MOVED';
      // To where it is to be.
      if (isMoved && ((await this.#other.refs.follow(name)).id ?? NULL_ID) === after) return { name };
      return { name, fault: error.message, moved: isMoved };
    }
  }
}

/** Brings what one store lacks there from another: nothing is seen before all of it is there and was checked. */
async function transfer(
  from: Store,
  to: Store,
  wanted: readonly ObjectId[],
  options: TransferOptions,
): Promise<TransferSummary> {
  if (wanted.length === 0) return { objects: 0, bytes: 0 };
  const remote = {
    tips: (await to.refs.list()).map(({ id }) => id),
    commits: to.objects,
    has: (id: ObjectId) => to.objects.isStored(id),
  };
  const marks = await markMissing(from.objects, wanted, remote, options);
  const quarantine = await Quarantine.make(to);
  const workers = new ClusterWorkers(Number.POSITIVE_INFINITY);
  let objects = 0;
  let bytes = 0;
  try {
    const check = async ({ row, stem }: OutgoingPack) => {
      const pack = new Pack(stem);
      try {
        objects += await verifyPack(pack, workers, options);
      } finally {
        pack.close();
      }
      bytes += row.bytes;
      options.onProgress?.({ done: bytes, total: bytes });
    };
    await writeOutgoing(from, marks, quarantine.packs, check, options);
    await quarantine.install();
    return { objects, bytes };
  } finally {
    await workers.close();
    await quarantine.remove();
  }
}
