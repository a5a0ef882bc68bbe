import { ImgstoreError } from '../../../errors/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import {
  type Bucket,
  CHECKPOINTS,
  checkpointName,
  indexName,
  isRemoteName,
  PACKS,
  type PackUpload,
  packName,
  type RemoteContent,
  type RemotePack,
  type RemoteSnapshot,
  STATES,
  stateName,
} from '../../../remote/index.ts';
import { type Monitor, throwIfStopped } from '../../progress.ts';
import { walkContent } from '../walk-content.ts';
import type { BucketRemote } from './bucket-remote.ts';
import type { Incoming } from './incoming.ts';
import { UploadJournal } from './journal.ts';
import { sendInTime } from './listed-in-time.ts';
import { type BucketLook, lookThrough } from './look-through.ts';
import { removeOldIndexes } from './old-indexes.ts';
import type { SendPack } from './outgoing.ts';
import { publishOnNewest } from './publish-on-newest.ts';
import { RemoteMarks } from './remote-marks.ts';
import { rewritePacks } from './rewrite.ts';

/** A pack of which less than this share is needed is written anew. */
const LEAST_LIVE = 1 / 2;
/** Packs below this size are joined, */
const SMALL_BYTES = 8 * 2 ** 20;
/** when there are so many of a kind: each costs every other host a request for its index. */
const MANY_SMALL = 16;

/** What a push that is under way has sent is listed by no state yet: nothing younger than this goes that nobody lists (see journal.ts). */
const LEAST_GRACE_MS = 2 * 24 * 60 * 60 * 1000;

/** Each race that is lost costs a walk of all that refs lead to. */
const MOST_RACES = 20;

export interface BucketGc {
  readonly remote: string;
  readonly packsBefore: number;
  readonly packsAfter: number;
  /** Bytes of all listed packs with their indexes. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Objects that were removed from the bucket. */
  readonly removed: number;
  /** Packs that nothing lists any more, and that wait for the end of the grace period. */
  readonly waiting: number;
}

/**
 * Makes a bucket smaller: packs of which little is needed, and many small ones, are written anew; those that are not listed any more go after a grace period, in which readers may still be at them. Whoever pushes
 * meanwhile makes the state before this does, or after: then he sees the packs that there are now, and what he counted on and is gone, he sends again.
 * @param graceMs how long what is not listed any more stays; milliseconds
 * @throws ImgstoreError `REMOTE_…`, `DAMAGED`, `INTERRUPTED`, `BUSY`, `IO`
 */
export function collectBucket(remote: BucketRemote, graceMs: number, monitor: Monitor): Promise<BucketGc> {
  return lookThrough(remote, monitor, (look) => collect(remote, look, graceMs, monitor));
}

async function collect(
  remote: BucketRemote,
  { incoming, workers }: BucketLook,
  graceMs: number,
  monitor: Monitor,
): Promise<BucketGc> {
  const { bucket, states, indexes, place, store } = remote;
  const first = await states.newest();
  const journal = await UploadJournal.open(store, place.journal, bucket, first.content);
  const options = { seen: first, mostRaces: MOST_RACES, advice: 'run gc again later' };
  const next = await publishOnNewest(remote, journal, options, async ({ content }) => {
    throwIfStopped(monitor);
    await indexes.use([...content.packs.values(), ...journal.packs]);
    const live = await markLive(remote, content, incoming, monitor);
    const old = packsToRewrite(content, live);
    const write = (send: SendPack) => rewritePacks(remote, old, live, { incoming, workers, monitor, send });
    await sendInTime(remote, journal, write, monitor);
    if (journal.dropOld()) return 'look again';
    if (old.length === 0) return 'leave';
    const at = new Date().toISOString();
    return {
      added: journal.packs.filter((row) => isToList(row, content, old)),
      buried: old.map(({ pack, upload }) => ({ pack, upload, at })),
    };
  });
  const { removed, last } = await removeExpired(remote, next, graceMs);
  await removeOldIndexes(remote, last.content);
  return {
    remote: bucket.where,
    packsBefore: first.content.packs.size,
    packsAfter: last.content.packs.size,
    bytesBefore: bytesOf(first.content),
    bytesAfter: bytesOf(last.content),
    removed,
    waiting: last.content.buried.size,
  };
}

/** Marks what refs lead to. All maps are fetched for it. */
async function markLive(
  { indexes, store }: BucketRemote,
  content: RemoteContent,
  incoming: Incoming,
  monitor: Monitor,
): Promise<RemoteMarks> {
  for (const row of content.packs.values()) if (row.kind === 'maps') await incoming.fetch(row);
  const live = new RemoteMarks(indexes);
  const { objects } = incoming;
  await walkContent(new Set<ObjectId>(content.refs.values()), {
    read: (id) => (store.objects.isStored(id) ? store.objects.read(id) : objects.read(id)),
    isKnown: () => false,
    meet: (id) => live.mark(id),
    monitor,
  });
  const [lost] = live.unknown();
  if (lost !== undefined)
    throw new ImgstoreError(
      'REMOTE_FAILED',
      `object ${lost} is not there, to which a ref leads: nothing was removed: see 'imgstore verify'`,
      { id: lost },
    );
  return live;
}

/** A pack that was written anew may be the same as one of those that go, under another name. */
function isToList({ pack, upload }: RemotePack, content: RemoteContent, old: readonly RemotePack[]): boolean {
  const listed = content.packs.get(pack);
  return listed === undefined || (listed.upload !== upload && old.includes(listed));
}

function packsToRewrite(content: RemoteContent, live: RemoteMarks): RemotePack[] {
  const counts = new Map([...live.packed()].map(({ pack, positions }) => [pack.pack, positions.length]));
  const rows = [...content.packs.values()];
  const isWaste = ({ pack, objects }: RemotePack) => (counts.get(pack) ?? 0) < objects * LEAST_LIVE;
  const small = (kind: RemotePack['kind']) => {
    const some = rows.filter((row) => row.kind === kind && row.bytes < SMALL_BYTES && !isWaste(row));
    return some.length < MANY_SMALL ? [] : some;
  };
  return [...rows.filter(isWaste), ...small('data'), ...small('maps')];
}

/** Ends the wait of what was buried long enough ago. Only what is listed by nothing is removed: its name is never used again. */
async function removeExpired(
  { bucket, states }: BucketRemote,
  newest: RemoteSnapshot,
  graceMs: number,
): Promise<{ readonly removed: number; readonly last: RemoteSnapshot }> {
  const { buried } = newest.content;
  const expired = [...buried.values()].filter(({ at }) => Date.now() - Date.parse(at) >= graceMs);
  const next = expired.length === 0 ? newest : await states.publish(newest, { gone: expired });
  // Somebody has pushed meanwhile: then it goes the next time.
  const last = next ?? newest;
  return { removed: await removeUnlisted(bucket, last, next === undefined ? [] : expired, graceMs), last };
}

/** Removes what the newest state does not list and nobody can be using: packs, old states and their checkpoints. */
async function removeUnlisted(
  bucket: Bucket,
  { number, content, state }: RemoteSnapshot,
  expired: readonly PackUpload[],
  graceMs: number,
): Promise<number> {
  const stored = (name: string) => bucket.stored?.(name) ?? name;
  const listed = [...content.packs.values(), ...content.buried.values()].flatMap((row) => [
    packName(row),
    indexName(row),
  ]);
  const kept = new Set([...listed, stateName(number), checkpointName(state.checkpoint ?? '')].map(stored));
  const cut = Date.now() - Math.max(graceMs, LEAST_GRACE_MS);
  const gone = new Set(expired.flatMap((row) => [packName(row), indexName(row)]).map(stored));
  const doomed: string[] = [];
  for (const prefix of [PACKS, CHECKPOINTS, STATES])
    for await (const { name, modified } of bucket.list(prefix))
      if (isRemoteName(name) && !kept.has(name) && (gone.has(name) || modified.getTime() < cut))
        doomed.push(name);
  await bucket.remove(doomed);
  return doomed.length;
}

function bytesOf({ packs }: RemoteContent): number {
  return [...packs.values()].reduce((sum, { bytes, indexBytes }) => sum + bytes + indexBytes, 0);
}
