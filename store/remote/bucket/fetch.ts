import { ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import type { GitObject, ObjectId } from '../../../objects/index.ts';
import { PackWriter } from '../../../pack/index.ts';
import { checkRemote, packName, type RemotePack, type RemoteSnapshot } from '../../../remote/index.ts';
import { writePackList } from '../../lazy/pack-list.ts';
import { Freshener } from '../../objects/freshener.ts';
import { each, orderedMap } from '../../ordered-map.ts';
import { copyEntries } from '../../pack/copy-entries.ts';
import type { Monitor } from '../../progress.ts';
import { Announcement } from '../../work/announcement.ts';
import { ClusterWorkers } from '../../workers/pool.ts';
import { commitsBelow } from '../commits-below.ts';
import { verifyPack } from '../verify-pack.ts';
import { walkContent } from '../walk-content.ts';
import type { BucketRemote } from './bucket-remote.ts';
import { Incoming } from './incoming.ts';
import { removeOldIndexes } from './old-indexes.ts';
import { PartialPack } from './partial-pack.ts';
import { RemoteMarks } from './remote-marks.ts';
import { sayKept } from './say-kept.ts';

/** Packs that are fetched at the same time. */
const MOST_AT_ONCE = 4;
/** A pack of which this share is needed is fetched whole: it then stays one pack, and one request does. */
const SHARE_OF_WHOLE = 1 / 2;
/** As is one of so many bytes. */
const SMALL_PACK = 2 ** 20;

export interface BucketFetch {
  readonly objects: number;
}

export interface FetchDepth {
  /** Clusters stay in the bucket, to be fetched when they are read: the packs that come are marked as git's promisor packs. */
  readonly lazy?: boolean;
}

/**
 * Brings what some ids lead to into the store: all of it checked, or nothing.
 * @throws ImgstoreError `DAMAGED`, `REMOTE_…`, `NOT_FOUND` for what the bucket's refs do not lead to, `INTERRUPTED`, `BUSY`, `IO`; it says so when the next fetch goes on with what has come
 */
export async function fetchFrom(
  remote: BucketRemote,
  wanted: readonly ObjectId[],
  monitor: Monitor,
  { lazy = false }: FetchDepth = {},
): Promise<BucketFetch> {
  if (wanted.length === 0) return { objects: 0 };
  const { bucket, states, indexes, place, store } = remote;
  const lock = await place.lock();
  const workers = new ClusterWorkers(Number.POSITIVE_INFINITY);
  const incoming = new Incoming(remote, workers, monitor);
  const announcement = Announcement.make(store.folder, store.rules, 'writes');
  try {
    if (!(await checkRemote(bucket))) throw notThere(bucket.where, wanted[0]!);
    const snapshot = await states.newest();
    await indexes.use(snapshot.content.packs.values());
    const maps = await fetchMaps(remote, snapshot, { wanted, incoming, lazy });
    const freshener = new Freshener(store.objects, () => announcement.now());
    const missing = await findMissing(remote, wanted, { incoming, freshener, monitor });
    const packs = lazy ? [] : await fetchData(remote, missing.data, { incoming, workers, monitor });
    // Clusters first: who sees a map finds what it leads to.
    await incoming.install(packs);
    // Of a lazy clone all that lead to clusters which count as here from now on: git asks for it (`git help partial-clone`).
    await incoming.install(lazy ? maps : missing.here, { promised: lazy });
    if (lazy) {
      await writePackList(place.packList, [...snapshot.content.packs.values()], store.rules);
      await store.objects.renewPromised();
    }
    await incoming.clear();
    await removeOldIndexes(remote, snapshot.content);
    return { objects: missing.count };
  } catch (error) {
    throw (await sayKept(error, place.incoming)) ?? error;
  } finally {
    announcement.withdraw();
    incoming.close();
    await workers.close();
    await lock.release();
  }
}

/**
 * Packs of commits and maps of which anything is not here, several at a time; returns their checksums. For a lazy clone all: what they lead to counts as here. When all refs of the bucket are wanted or here, the small
 * ones, as of packs that nearly all are needed of; the others come when something of them is.
 */
async function fetchMaps(
  { indexes, store }: BucketRemote,
  { content }: RemoteSnapshot,
  {
    wanted,
    incoming,
    lazy,
  }: { readonly wanted: readonly ObjectId[]; readonly incoming: Incoming; readonly lazy: boolean },
): Promise<readonly string[]> {
  const isWanted = new Set(wanted);
  const isAll = [...content.refs.values()].every((id) => isWanted.has(id) || store.objects.isStored(id));
  if (!lazy && !isAll) return [];
  const isNeeded = (row: RemotePack) => {
    if (row.kind !== 'maps' || (!lazy && row.bytes > SMALL_PACK)) return false;
    const { idx } = indexes.of(row);
    for (let position = 0; position < idx.count; position++)
      if (!store.objects.isStored(idx.id(position))) return true;
    return false;
  };
  const needed = [...content.packs.values()].filter(isNeeded);
  await fetchAll(needed, incoming);
  return needed.map(({ pack }) => pack);
}

async function fetchAll(rows: Iterable<RemotePack>, incoming: Incoming): Promise<void> {
  for await (const _ of orderedMap(each(rows), MOST_AT_ONCE, (row) => incoming.fetch(row)));
}

interface Missing {
  /** Objects that the store lacks. */
  readonly count: number;
  /** Checksums of packs that were fetched and have any of them. */
  readonly here: ReadonlySet<string>;
  /** What is still in the bucket. */
  readonly data: RemoteMarks;
}

interface SearchTools {
  readonly incoming: Incoming;
  /** Keeps what is here and nothing leads to from `gc`. */
  readonly freshener: Freshener;
  readonly monitor: Monitor;
}

/** Walks through what is wanted, and fetches the packs of maps that it leads to. */
async function findMissing(
  { bucket, indexes, store }: BucketRemote,
  wanted: readonly ObjectId[],
  { incoming, freshener, monitor }: SearchTools,
): Promise<Missing> {
  const tips = (await store.refs.list()).map(({ id }) => id);
  const known = commitsBelow(store.objects, tips);
  const met = new RemoteMarks(indexes);
  const data = new RemoteMarks(indexes);
  const maps = new Map<string, RemotePack>();
  const here = new Set<string>();
  let count = 0;
  const read = async (id: ObjectId): Promise<GitObject> => {
    if (store.objects.isStored(id)) return store.objects.read(id);
    const pack = incoming.objects.packs.find(id) === undefined ? indexes.find(id)?.pack : undefined;
    if (pack?.kind === 'maps') await incoming.fetch(pack);
    try {
      return incoming.objects.read(id);
    } catch (error) {
      throw isImgstoreError(error, 'NOT_FOUND') ? notThere(bucket.where, id) : error;
    }
  };
  await walkContent(wanted, {
    read,
    isKnown: (id) => known.has(id),
    meet: (id) => {
      if (!met.mark(id)) return false;
      if (freshener.keep(id)) return true;
      count++;
      const pack = indexes.find(id)?.pack;
      const fetched = pack?.kind === 'maps' ? undefined : incoming.objects.packs.find(id)?.pack;
      if (pack?.kind === 'maps') maps.set(pack.pack, pack);
      else if (fetched !== undefined) here.add(checksumOf(fetched));
      else data.mark(id);
      return true;
    },
    monitor,
  });
  const [lost] = data.unknown();
  if (lost !== undefined) throw notThere(bucket.where, lost);
  // Of those of which only blobs are needed, nothing was read.
  await fetchAll(maps.values(), incoming);
  return { count, here: new Set([...here, ...maps.keys()]), data };
}

interface FetchTools {
  readonly incoming: Incoming;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
}

/** Fetches marked clusters. @returns checksums of the packs that have them */
async function fetchData(remote: BucketRemote, marks: RemoteMarks, tools: FetchTools): Promise<string[]> {
  const fetchOne = ({ pack, positions }: { readonly pack: RemotePack; readonly positions: Uint32Array }) =>
    isWorthWhole(remote, pack, positions)
      ? tools.incoming.fetch(pack).then(() => pack.pack)
      : fetchPart(remote, pack, positions, tools);
  const packs: string[] = [];
  for await (const pack of orderedMap(each(marks.packed()), MOST_AT_ONCE, fetchOne)) packs.push(pack);
  return packs;
}

function isWorthWhole({ indexes }: BucketRemote, pack: RemotePack, positions: Uint32Array): boolean {
  if (pack.bytes <= SMALL_PACK) return true;
  const { idx } = indexes.of(pack);
  let bytes = 0;
  for (const position of positions) {
    const offset = idx.offset(position);
    bytes += indexes.entryEnd(pack, offset) - offset;
  }
  return bytes >= pack.bytes * SHARE_OF_WHOLE;
}

/** A new pack of some entries of one in the bucket. */
async function fetchPart(
  remote: BucketRemote,
  row: RemotePack,
  positions: Uint32Array,
  { incoming, workers, monitor }: FetchTools,
): Promise<string> {
  const folder = await incoming.folder();
  const partial = await PartialPack.create(remote, row, folder);
  const writer = await PackWriter.create(folder, remote.store.rules);
  try {
    const { pack } = partial;
    await partial.fetch([...positions].map((position) => pack.idx.offset(position)));
    const isWanted = new Uint8Array(pack.idx.count);
    for (const position of positions) isWanted[position] = 1;
    const isKept = (position: number) => isWanted[position] === 1;
    await verifyPack(pack, workers, monitor, isKept);
    await copyEntries(pack, isKept, () => writer, remote.store.packCompression, monitor);
    const pending = await writer.finish();
    await pending.publish();
    return pending.checksum;
  } catch (error) {
    await writer.discard();
    if (!isImgstoreError(error, 'DAMAGED')) throw error;
    const where = `${remote.bucket.where}: ${packName(row)}`;
    const reason = `is damaged on the server: ${error.message}: nothing was taken over`;
    throw new ImgstoreError('DAMAGED', `${where}: ${reason}`, { where, pack: row.pack }, error);
  } finally {
    await partial.remove();
  }
}

function checksumOf({ stem }: { readonly stem: string }): string {
  return stem.slice(stem.lastIndexOf('-') + 1);
}

function notThere(where: string, id: ObjectId): ImgstoreError {
  return new ImgstoreError(
    'REMOTE_FAILED',
    `${where}: has no object ${id}, which one of its refs leads to: push it again from a store that has it`,
    { where, id },
  );
}
