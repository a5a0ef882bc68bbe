import { ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import type { RemotePack, RemoteSnapshot } from '../../../remote/index.ts';
import { ObjectMarks } from '../../objects/marks.ts';
import type { Monitor } from '../../progress.ts';
import { walkContent } from '../walk-content.ts';
import type { BucketRemote } from './bucket-remote.ts';
import type { Incoming } from './incoming.ts';
import { UploadJournal } from './journal.ts';
import { listedInTime } from './listed-in-time.ts';
import { writeOutgoing } from './outgoing.ts';
import { RemoteMarks } from './remote-marks.ts';
import { Uploads } from './uploads.ts';

/** Races for the next state that are lost before it is given up. */
const MOST_RACES = 50;

export interface RemoteRepair {
  /** Objects that were sent again. */
  readonly sent: number;
  /** What refs lead to, and neither the bucket nor this store has. */
  readonly lost: readonly ObjectId[];
}

/** What a check of a bucket has found; its whole packs are in use as indexes. */
export interface CheckedBucket {
  readonly snapshot: RemoteSnapshot;
  readonly damaged: readonly RemotePack[];
  /** Has the whole packs of maps. */
  readonly incoming: Incoming;
}

/**
 * Sends what a bucket has lost, as far as this store has it. Damaged packs leave its list when nothing is lost any more without them: until then another store may still bring what they had.
 * @throws ImgstoreError `REMOTE_…`, `DAMAGED`, `INTERRUPTED`, `BUSY`, `IO`
 */
export async function repairBucket(
  remote: BucketRemote,
  { snapshot, damaged, incoming }: CheckedBucket,
  monitor: Monitor,
): Promise<RemoteRepair> {
  const reading = remote.store.announceReading([...snapshot.content.refs.values()]);
  try {
    return await repair(remote, { snapshot, damaged, incoming }, monitor);
  } finally {
    reading?.withdraw();
  }
}

async function repair(
  remote: BucketRemote,
  { snapshot, damaged, incoming }: CheckedBucket,
  monitor: Monitor,
): Promise<RemoteRepair> {
  const { bucket, indexes, place, states, store } = remote;
  const { marks, lost } = await findLost(remote, snapshot, incoming, monitor);
  const journal = await UploadJournal.open(store, place.journal, bucket, snapshot.content);
  const uploads = new Uploads(bucket, indexes, journal, monitor);
  try {
    await writeOutgoing(store, marks, place.outgoing, listedInTime(remote, uploads, journal), monitor);
  } finally {
    await uploads.finish();
  }
  const at = new Date().toISOString();
  for (let races = 0; races < MOST_RACES; races++) {
    const newest = await states.newest();
    const isListed = ({ pack, upload }: RemotePack) => newest.content.packs.get(pack)?.upload === upload;
    const buried = lost.length > 0 ? [] : damaged.filter(isListed);
    const next = await states.publish(newest, {
      refs: [],
      added: journal.packs,
      buried: buried.map(({ pack, upload }) => ({ pack, upload, at })),
      gone: [],
    });
    if (next === undefined) continue;
    await journal.clear();
    return { sent: uploads.objects, lost };
  }
  throw new ImgstoreError('BUSY', `${bucket.where}: others push all the time: repair it again later`, {});
}

async function findLost(
  { indexes, store }: BucketRemote,
  { content }: RemoteSnapshot,
  incoming: Incoming,
  monitor: Monitor,
) {
  const { objects } = store;
  const met = new RemoteMarks(indexes);
  const marks = { data: new ObjectMarks(objects), maps: new ObjectMarks(objects) };
  const lost = new Set<ObjectId>();
  for (const root of new Set(content.refs.values())) {
    try {
      await walkContent([root], {
        read: (id) => (objects.isStored(id) ? objects.read(id) : incoming.objects.read(id)),
        isKnown: () => false,
        meet: (id, kind) => {
          if (!met.mark(id)) return false;
          if (indexes.has(id, kind === 'maps' ? kind : undefined)) return true;
          if (objects.isStored(id)) marks[kind].mark(id);
          else lost.add(id);
          return true;
        },
        monitor,
      });
    } catch (error) {
      // Where the way ends: what is behind it cannot be known.
      if (!isImgstoreError(error, 'NOT_FOUND') || typeof error.data.id !== 'string') throw error;
      lost.add(error.data.id);
    }
  }
  return { marks, lost: [...lost] };
}
