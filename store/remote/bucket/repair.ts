import type { ObjectId } from '../../../objects/index.ts';
import type { RemotePack } from '../../../remote/index.ts';
import type { Monitor } from '../../progress.ts';
import type { OutgoingMarks } from '../mark-missing.ts';
import type { BucketRemote } from './bucket-remote.ts';
import { type CheckedBucket, findLost } from './find-lost.ts';
import { UploadJournal } from './journal.ts';
import { sendInTime } from './listed-in-time.ts';
import { type SendPack, writeOutgoing } from './outgoing.ts';
import { publishOnNewest } from './publish-on-newest.ts';

export interface RemoteRepair {
  /** Objects that were sent again; undefined when there was nothing to mend. */
  readonly sent: number | undefined;
  /** What refs lead to, and neither the bucket nor this store has. */
  readonly lost: readonly ObjectId[];
}

/**
 * Sends what a bucket has lost, as far as this store has it. Damaged packs leave its list when nothing is lost any more without them: until then another store may still bring what they had.
 * @throws ImgstoreError `REMOTE_…`, `DAMAGED`, `INTERRUPTED`, `BUSY`, `IO`
 */
export async function repairBucket(
  remote: BucketRemote,
  checked: CheckedBucket,
  damaged: readonly RemotePack[],
  monitor: Monitor,
): Promise<RemoteRepair> {
  const reading = remote.store.announceReading([...checked.snapshot.content.refs.values()]);
  try {
    const { found, lost } = await findLost(remote, checked, true, monitor);
    if (damaged.length + lost.length + found.data.count + found.maps.count === 0)
      return { sent: undefined, lost };
    const { content } = checked.snapshot;
    const bad = lost.length > 0 ? [] : damaged;
    const journal = await UploadJournal.open(remote.store, remote.place.journal, remote.bucket, content);
    return { sent: await send(remote, journal, { marks: found, bad }, monitor), lost };
  } finally {
    reading?.withdraw();
  }
}

interface Mending {
  readonly marks: OutgoingMarks;
  /** Packs that leave the list. */
  readonly bad: readonly RemotePack[];
}

/** @returns how many objects were sent */
async function send(
  remote: BucketRemote,
  journal: UploadJournal,
  { marks, bad }: Mending,
  monitor: Monitor,
): Promise<number> {
  const { place, store } = remote;
  const write = (send: SendPack) => writeOutgoing(store, marks, place.outgoing, send, monitor);
  const objects = await sendInTime(remote, journal, write, monitor);
  const at = new Date().toISOString();
  await publishOnNewest(remote, journal, { advice: 'repair it again later' }, ({ content }) => {
    const isListed = ({ pack, upload }: RemotePack) => content.packs.get(pack)?.upload === upload;
    const buried = bad.filter(isListed).map(({ pack, upload }) => ({ pack, upload, at }));
    return { added: journal.packs, buried };
  });
  return objects;
}
