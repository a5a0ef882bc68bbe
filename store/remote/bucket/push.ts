import { mkdir } from 'node:fs/promises';
import { counted, ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import { NULL_ID, type ObjectId } from '../../../objects/index.ts';
import {
  beginRemote,
  type RemoteContent,
  type RemoteRefMove,
  type RemoteSnapshot,
} from '../../../remote/index.ts';
import { type Monitor, throwIfStopped } from '../../progress.ts';
import type { Store } from '../../store.ts';
import { markMissing, type OutgoingMarks } from '../mark-missing.ts';
import type { RemoteUpdate, RemoteUpdateResult } from '../transport.ts';
import type { BucketRemote } from './bucket-remote.ts';
import { type SentPack, UploadJournal } from './journal.ts';
import { sendInTime } from './listed-in-time.ts';
import { removeOldIndexes } from './old-indexes.ts';
import { type SendPack, writeOutgoing } from './outgoing.ts';
import { publishOnNewest } from './publish-on-newest.ts';

const HEADS = 'refs/heads/';

/** What a push came to. */
export interface BucketPush {
  readonly results: readonly RemoteUpdateResult[];
  readonly objects: number;
}

/** What is known of a bucket before a push. */
export interface PushStart {
  /** A state that was the newest a moment ago. */
  readonly seen?: RemoteSnapshot | undefined;
  /** Packs that were sent just now, and that no state lists. */
  readonly sent?: readonly SentPack[];
  /** The number of the state that was the newest before they were sent. */
  readonly sentSince?: number | undefined;
}

/**
 * Sends what a bucket lacks, then makes a state in which refs are moved. When somebody else has made one meanwhile, looks again at what there is now, and at which refs are still where they were.
 * @throws ImgstoreError `REMOTE_…`, `DAMAGED`, `NOT_FOUND`, `INTERRUPTED`, `BUSY`, `IO`
 */
export async function pushTo(
  remote: BucketRemote,
  updates: readonly RemoteUpdate[],
  monitor: Monitor,
  { seen, sent = [], sentSince }: PushStart = {},
): Promise<BucketPush> {
  const { bucket, indexes, place, states, store } = remote;
  const lock = await place.lock();
  try {
    if (seen === undefined) await beginRemote(bucket);
    await mkdir(place.indexes, { recursive: true });
    const first = seen ?? (await states.newest());
    const journal = await UploadJournal.open(store, place.journal, bucket, first.content, sent);
    if (sent.length > 0 && sentSince !== first.number) await journal.lookAgain(bucket, first.content);
    let results: readonly RemoteUpdateResult[] = [];
    let objects = sent.reduce((sum, { row }) => sum + row.objects, 0);
    const options = { seen: first, advice: 'push again' };
    const newest = await publishOnNewest(remote, journal, options, async ({ content }) => {
      throwIfStopped(monitor);
      results = updates.map((update) => checkUpdate(content, update));
      const moves = updates.filter(
        ({ name, after }, i) => results[i]!.fault === undefined && placeOf(content, name) !== after,
      );
      if (moves.length === 0) return 'leave';
      if (content !== first.content) await journal.lookAgain(bucket, content);
      await indexes.use([...content.packs.values(), ...journal.packs]);
      const marks = await markUnsent(remote, content, moves, monitor);
      const write = (send: SendPack) => writeOutgoing(store, marks, place.outgoing, send, monitor);
      objects += await sendInTime(remote, journal, write, monitor).catch((error: unknown) => {
        throw withRest(error, journal);
      });
      throwIfStopped(monitor);
      if (journal.dropOld()) return 'look again';
      const head = content.head ?? (await headOf(remote, moves));
      return {
        ...(head === undefined ? {} : { head }),
        refs: moves.map((move) => refMove(store, move)),
        // Another may have pushed the same meanwhile.
        added: journal.packs.filter(({ pack }) => !content.packs.has(pack)),
      };
    });
    if (newest !== first) await removeOldIndexes(remote, newest.content);
    return { results, objects };
  } finally {
    await lock.release();
  }
}

/** Says of a failure of the server that the next push goes on, if there is anything that it does not send again. */
function withRest(error: unknown, { notedCount }: UploadJournal): unknown {
  const isServers = isImgstoreError(error, 'REMOTE_UNREACHABLE') || isImgstoreError(error, 'REMOTE_FAILED');
  if (!isServers || notedCount === 0) return error;
  const kept = `what is sent already (${counted(notedCount, 'pack')}) is not sent again`;
  const message = `${error.message}: ${kept}: run the same command again to go on`;
  return new ImgstoreError(error.code, message, error.data, error);
}

/** Who fetches tags that lead to what he has must know where they lead without having them. */
function refMove({ objects }: Store, { name, after }: RemoteUpdate): RemoteRefMove {
  const end = after === NULL_ID ? after : objects.peel(after);
  return end === after ? { name, id: after } : { name, id: after, peeled: end };
}

function placeOf({ refs }: RemoteContent, name: string): ObjectId {
  return refs.get(name) ?? NULL_ID;
}

/** A ref that somebody has moved to the same place meanwhile is where it is to be. */
function checkUpdate(content: RemoteContent, { name, before, after }: RemoteUpdate): RemoteUpdateResult {
  const now = placeOf(content, name);
  if (now === before || now === after) return { name };
  const where = now === NULL_ID ? 'is not there any more' : `is at ${now.slice(0, 12)} now`;
  return { name, fault: `${name} ${where}`, moved: true };
}

/** The objects that the new places of refs lead to and the bucket lacks. */
function markUnsent(
  { store: { objects }, indexes }: BucketRemote,
  { refs }: RemoteContent,
  moves: readonly RemoteUpdate[],
  monitor: Monitor,
): Promise<OutgoingMarks> {
  const roots = moves.map(({ after }) => after).filter((id) => id !== NULL_ID);
  return markMissing(
    objects,
    roots,
    {
      tips: refs.values(),
      commits: objects,
      // A whole pack that was sent before a push broke off has maps too, and does not help.
      has: (id, kind) => indexes.hasAs(id, kind),
    },
    monitor,
  );
}

/** The branch that HEAD of a new remote names: this store's, if that is pushed. */
async function headOf({ store }: BucketRemote, moves: readonly RemoteUpdate[]): Promise<string | undefined> {
  const branches = moves.filter(({ name, after }) => name.startsWith(HEADS) && after !== NULL_ID);
  const own = await store.refs.symbolicTarget('HEAD');
  return (branches.find(({ name }) => name === own) ?? branches[0])?.name;
}
