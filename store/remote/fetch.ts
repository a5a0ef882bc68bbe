import { isImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { Monitor } from '../progress.ts';
import { TAGS } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { Announcement } from '../work/announcement.ts';
import { CommitGraph } from './commit-graph.ts';
import { faultOfTarget, kindOfMove } from './judge-move.ts';
import { moveRefs } from './move-refs.ts';
import { openTransport } from './open-transport.ts';
import { type FetchedRef, type FetchPlan, planFetch, tagsToFollow } from './plan-fetch.ts';
import { findGone } from './prune.ts';
import type { RefChange } from './ref-change.ts';
import type { Remote } from './remote.ts';
import { findRemote } from './remotes.ts';
import type { RemoteRefs, RemoteTransport, TransferSummary } from './transport.ts';

/** Which tags are fetched: all, none, or those that lead to what is fetched. */
export type TagChoice = 'all' | 'none' | 'follow';

export interface FetchRequest {
  /** Name of the remote: `origin`, or the only one, when not given. */
  readonly remote?: string | undefined;
  /** Refspecs or names; as the remote's config says when there are none. */
  readonly refspecs?: readonly string[] | undefined;
  /** Removes refs here that the remote has no more; as the config says when not given. */
  readonly prune?: boolean | undefined;
  /** As the config says when not given. */
  readonly tags?: TagChoice | undefined;
}

export interface FetchResult {
  /** Name. */
  readonly remote: string;
  readonly updates: readonly RefChange[];
  /** Objects that came. */
  readonly objects: number;
  readonly receivedBytes: number;
  readonly seconds: number;
}

/** A fetch by a way that is open. */
export interface OpenFetch {
  readonly remote: Remote;
  readonly transport: RemoteTransport;
  readonly there: RemoteRefs;
  readonly request: FetchRequest;
}

export interface FetchOutcome {
  readonly updates: readonly RefChange[];
  /** What was asked for, whether its ref was moved or not. */
  readonly fetched: readonly FetchedRef[];
  readonly summary: TransferSummary;
}

/**
 * Brings versions of a remote into the store and moves the refs that follow its refs.
 * @throws ImgstoreError `NOT_FOUND`, `AMBIGUOUS`, `USAGE`, `REMOTE_…`, `DAMAGED` when the remote sends what is not whole: nothing is taken over then
 */
export async function fetchRemote(
  store: Store,
  request: FetchRequest = {},
  monitor: Monitor = {},
): Promise<FetchResult> {
  const began = performance.now();
  const remote = findRemote(store, request.remote);
  const transport = await openTransport(store, remote, 'fetch', monitor);
  try {
    const there = await transport.refs(monitor);
    const { updates, summary } = await fetchBy(store, { remote, transport, there, request }, monitor);
    return fetchResult(remote, updates, summary, began);
  } finally {
    await transport.close();
  }
}

/** @param began by `performance.now()` */
export function fetchResult(
  remote: Remote,
  updates: readonly RefChange[],
  { objects, bytes }: TransferSummary,
  began: number,
): FetchResult {
  const seconds = (performance.now() - began) / 1000;
  return { remote: remote.name!, updates, objects, receivedBytes: bytes, seconds };
}

/** As {@link fetchRemote}, by a way that is open and stays so. */
export async function fetchBy(
  store: Store,
  { remote, transport, there, request }: OpenFetch,
  monitor: Monitor,
): Promise<FetchOutcome> {
  const tags = request.tags ?? tagChoice(remote);
  const tips = (await store.refs.list()).map(({ id }) => id);
  // What comes is younger, and what it leads to stays while this is there, also where its ref is removed meanwhile.
  const announcement = Announcement.make(store.folder, store.rules, 'writes', tips);
  try {
    const plan = planFetch(remote, there, request.refspecs ?? [], tags === 'all');
    const known = new Set(new CommitGraph(store.objects).from(tips));
    const { fetched, missing, summary } = await transfer(
      store,
      { remote, transport, there, plan, tags },
      monitor,
    );
    const gone = (request.prune ?? remote.prune) ? await findGone(store, plan.specs, there) : [];
    // First, as `a` may have gone to make room for `a/b`.
    const removed = await moveRefs(store, gone, () => `fetch ${remote.name}: pruned`);
    const graph = new CommitGraph(store.objects);
    const changes: RefChange[] = [];
    for (const each of fetched)
      changes.push(
        missing.has(each.id)
          ? lost(each, (await store.refs.follow(each.ref)).id)
          : await judge(store, graph, each, (id) => known.has(id)),
      );
    const moved = await moveRefs(store, changes, (change) => logMessage(remote, change));
    return { updates: [...removed, ...moved], fetched, summary };
  } finally {
    announcement.withdraw();
  }
}

function tagChoice({ tagOption }: Remote): TagChoice {
  return tagOption === '--no-tags' ? 'none' : tagOption === '--tags' ? 'all' : 'follow';
}

/** What came of what was wanted. */
interface Transfer {
  readonly fetched: readonly FetchedRef[];
  /** Ids to which the remote has refs, and which it has not itself. */
  readonly missing: ReadonlySet<ObjectId>;
  readonly summary: TransferSummary;
}

interface TransferPlan {
  readonly remote: Remote;
  readonly transport: RemoteTransport;
  readonly there: RemoteRefs;
  readonly plan: FetchPlan;
  readonly tags: TagChoice;
}

/** Fetches what is planned, and then tags that lead there. */
async function transfer(
  store: Store,
  { remote, transport, there, plan, tags }: TransferPlan,
  monitor: Monitor,
): Promise<Transfer> {
  const own = new Map((await store.refs.list()).map(({ name, id }) => [name, id]));
  const coming = new Set(plan.refs.map(({ id }) => id));
  const taken = new Set([...own.keys(), ...plan.refs.map(({ ref }) => ref)]);
  const follow = (isHere: (id: ObjectId) => boolean) =>
    tags === 'follow' ? tagsToFollow(there, taken, isHere) : [];
  const here = new Set(own.values());
  const wanted = (refs: readonly FetchedRef[]) =>
    [...new Set(refs.map(({ id }) => id))].filter((id) => !here.has(id));

  const atOnce = follow((id) => coming.has(id) || store.objects.has(id));
  const first = [...plan.refs, ...atOnce];
  const main = await fetchWhatIsThere(transport, wanted(first), monitor);
  for (const { ref } of atOnce) taken.add(ref);
  // Those of versions further back are known to lead there only now.
  const later = follow((id) => store.objects.has(id));
  const more = await fetchWhatIsThere(transport, wanted(later), monitor);
  if (tags === 'follow') tellOfOthers(remote, there, own, monitor);
  return {
    fetched: [...first, ...later],
    missing: new Set([...main.missing, ...more.missing]),
    summary: {
      objects: main.summary.objects + more.summary.objects,
      bytes: main.summary.bytes + more.summary.bytes,
    },
  };
}

/** Fetches again without what the remote says that it has not: one broken ref of it must not keep all others from coming. */
async function fetchWhatIsThere(
  transport: RemoteTransport,
  wanted: readonly ObjectId[],
  monitor: Monitor,
): Promise<{ readonly missing: ReadonlySet<ObjectId>; readonly summary: TransferSummary }> {
  const missing = new Set<ObjectId>();
  for (;;) {
    const rest = wanted.filter((id) => !missing.has(id));
    try {
      return { missing, summary: await transport.fetch(rest, monitor) };
    } catch (error) {
      const id = isImgstoreError(error) ? error.data.missing : undefined;
      if (typeof id !== 'string' || !rest.includes(id)) throw error;
      missing.add(id);
    }
  }
}

/** Tags of the same name that are at something else here stay: git says nothing of them, and then nobody knows. */
function tellOfOthers(
  { name: remote = 'NAME' }: Remote,
  there: RemoteRefs,
  own: ReadonlyMap<string, ObjectId>,
  monitor: Monitor,
): void {
  for (const { name, id } of there.refs) {
    const here = own.get(name);
    if (!name.startsWith(TAGS) || here === undefined || here === id) continue;
    const tag = name.slice(TAGS.length);
    monitor.onNotice?.(
      `tag '${tag}' is another on the remote (${id.slice(0, 12)}) and was left: take that with 'imgstore fetch ${remote} +${name}:${name}'`,
    );
  }
}

function lost({ ref, id }: FetchedRef, from: ObjectId | undefined): RefChange {
  const reason = `the remote has not what it leads to (${id.slice(0, 12)}): have 'git fsck' look there`;
  return { ref, from, to: id, kind: 'rejected', reason };
}

async function judge(
  store: Store,
  graph: CommitGraph,
  { id: to, ref, force }: FetchedRef,
  isKnown: (id: ObjectId) => boolean,
): Promise<RefChange> {
  const { id: from, fault } = await store.refs.follow(ref);
  const reject = (reason: string): RefChange => ({ ref, from, to, kind: 'rejected', reason });
  if (fault !== undefined) return reject(fault.message);
  const kind = kindOfMove(graph, ref, from, to);
  if (kind === 'unchanged') return { ref, from, to, kind };
  const wrong = faultOfTarget(store, graph, ref, to, isKnown);
  if (wrong !== undefined) return reject(wrong);
  if (kind === 'forced' && !force)
    return reject(
      ref.startsWith(TAGS)
        ? "the tag is another here: write + in front of the refspec to take the remote's"
        : 'versions here are not in its history: write + in front of the refspec to drop them',
    );
  return { ref, from, to, kind };
}

function logMessage({ name, url }: Remote, { kind, ref }: RefChange): string {
  const what =
    kind === 'forward'
      ? 'fast-forward'
      : kind === 'forced'
        ? 'forced-update'
        : ref.startsWith(TAGS)
          ? 'storing tag'
          : 'storing head';
  return `fetch ${name ?? url}: ${what}`;
}
