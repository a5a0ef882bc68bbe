import { mkdir } from 'node:fs/promises';
import { ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import { NULL_ID, type ObjectId } from '../../../objects/index.ts';
import {
  beginRemote,
  type PackKind,
  type RemoteContent,
  type RemoteRefMove,
  type RemoteSnapshot,
} from '../../../remote/index.ts';
import { ObjectMarks } from '../../objects/marks.ts';
import { type Monitor, throwIfStopped } from '../../progress.ts';
import type { Store } from '../../store.ts';
import { commitsBelow } from '../commits-below.ts';
import type { RemoteUpdate, RemoteUpdateResult } from '../transport.ts';
import { walkContent } from '../walk-content.ts';
import type { BucketRemote } from './bucket-remote.ts';
import { UploadJournal } from './journal.ts';
import { listedInTime } from './listed-in-time.ts';
import { removeOldIndexes } from './old-indexes.ts';
import { writeOutgoing } from './outgoing.ts';
import { Uploads } from './uploads.ts';

/** Races for the next state that are lost before it is given up: each time somebody else has won, so this takes a crowd. */
const MOST_RACES = 50;

const HEADS = 'refs/heads/';

/** What a push came to. */
export interface BucketPush {
  readonly results: readonly RemoteUpdateResult[];
  readonly objects: number;
}

/**
 * Sends what a bucket lacks, then makes a state in which refs are moved. When somebody else has made one meanwhile, looks again at what there is now, and at which refs are still where they were.
 * @param seen a state that was the newest a moment ago
 * @throws ImgstoreError `REMOTE_…`, `DAMAGED`, `NOT_FOUND`, `INTERRUPTED`, `BUSY`, `IO`
 */
export async function pushTo(
  remote: BucketRemote,
  updates: readonly RemoteUpdate[],
  monitor: Monitor,
  seen?: RemoteSnapshot,
): Promise<BucketPush> {
  const { bucket, states, indexes, place, store } = remote;
  const lock = await place.lock();
  try {
    if (seen === undefined) await beginRemote(bucket);
    await mkdir(place.indexes, { recursive: true });
    const first = seen ?? (await states.newest());
    const journal = await UploadJournal.open(store, place.journal, bucket, first.content);
    let objects = 0;
    for (let races = 0; races < MOST_RACES; races++) {
      throwIfStopped(monitor);
      const snapshot = races === 0 ? first : await states.newest();
      const results = updates.map((update) => checkUpdate(snapshot.content, update));
      const moves = updates.filter(
        ({ name, after }, i) => results[i]!.fault === undefined && placeOf(snapshot.content, name) !== after,
      );
      if (moves.length === 0) return { results, objects };
      await indexes.use([...snapshot.content.packs.values(), ...journal.packs]);
      const marks = await markMissing(remote, snapshot.content, moves, monitor);
      const uploads = new Uploads(bucket, indexes, journal, monitor);
      try {
        await sendAll(remote, marks, { uploads, journal, monitor });
      } catch (error) {
        throw withRest(error, journal);
      }
      objects += uploads.objects;
      throwIfStopped(monitor);
      if (journal.dropOld()) continue;
      const next = await states.publish(snapshot, {
        head: snapshot.content.head ?? (await headOf(remote, moves)),
        refs: moves.map((move) => refMove(store, move)),
        // Another may have pushed the same meanwhile.
        added: journal.packs.filter(({ pack }) => !snapshot.content.packs.has(pack)),
        buried: [],
        gone: [],
      });
      if (next === undefined) continue;
      await journal.clear();
      await removeOldIndexes(remote, next.content);
      return { results, objects };
    }
    throw new ImgstoreError(
      'BUSY',
      `${bucket.where}: others have pushed ${MOST_RACES} times meanwhile: push again`,
      { where: bucket.where },
    );
  } finally {
    await lock.release();
  }
}

interface SendTools {
  readonly uploads: Uploads;
  readonly journal: UploadJournal;
  readonly monitor: Monitor;
}

async function sendAll(
  remote: BucketRemote,
  marks: Readonly<Record<PackKind, ObjectMarks>>,
  { uploads, journal, monitor }: SendTools,
): Promise<void> {
  const send = listedInTime(remote, uploads, journal);
  try {
    await writeOutgoing(remote.store, marks, remote.place.outgoing, send, monitor);
  } finally {
    await uploads.finish();
  }
}

/** Says of a failure of the server that the next push goes on, if there is anything that it does not send again. */
function withRest(error: unknown, { notedCount }: UploadJournal): unknown {
  const isServers = isImgstoreError(error, 'REMOTE_UNREACHABLE') || isImgstoreError(error, 'REMOTE_FAILED');
  if (!isServers || notedCount === 0) return error;
  const message = `${error.message}: ${notedCount} packs that were sent are not sent again: run the same command again to go on`;
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

/** The objects that the new places of refs lead to and the bucket lacks. What its refs lead to, it has whole; of all else it is asked object by object. */
async function markMissing(
  { store, indexes }: BucketRemote,
  { refs }: RemoteContent,
  moves: readonly RemoteUpdate[],
  monitor: Monitor,
) {
  const { objects } = store;
  const known = commitsBelow(objects, refs.values());
  const met = new ObjectMarks(objects);
  const marks = { data: new ObjectMarks(objects), maps: new ObjectMarks(objects) };
  const roots = moves.map(({ after }) => after).filter((id) => id !== NULL_ID);
  await walkContent(roots, {
    read: (id) => objects.read(id),
    isKnown: (id) => known.has(id),
    meet: (id, kind) => {
      if (!met.mark(id)) return false;
      // Whoever fetches looks for what leads to clusters in packs of maps only: a whole pack that was sent before a push broke off has it too, and does not help.
      if (!indexes.has(id, kind === 'maps' ? kind : undefined)) marks[kind].mark(id);
      return true;
    },
    monitor,
  });
  return marks;
}

/** The branch that HEAD of a new remote names: this store's, if that is pushed. */
async function headOf({ store }: BucketRemote, moves: readonly RemoteUpdate[]): Promise<string | undefined> {
  const branches = moves.filter(({ name, after }) => name.startsWith(HEADS) && after !== NULL_ID);
  const own = await store.refs.symbolicTarget('HEAD');
  return (branches.find(({ name }) => name === own) ?? branches[0])?.name;
}
