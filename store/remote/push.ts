import { NULL_ID, type ObjectId } from '../../objects/index.ts';
import type { Monitor } from '../progress.ts';
import { newRefFault, TAGS } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { BegunPush } from './begun-push.ts';
import { CommitGraph } from './commit-graph.ts';
import { kindOfMove } from './judge-move.ts';
import { type Lease, Leases } from './lease.ts';
import { moveRefs } from './move-refs.ts';
import { type PushedRef, type PushSelection, planPush } from './plan-push.ts';
import type { RefChange } from './ref-change.ts';
import { mapRef, parseRefspec } from './refspec.ts';
import type { Remote } from './remote.ts';
import type { RemoteRefs, RemoteUpdateResult } from './transport.ts';

export interface PushRequest extends PushSelection {
  /** Name of the remote: `origin`, or the only one, when not given. */
  readonly remote?: string | undefined;
  /** Moves refs also where that takes versions away from them. */
  readonly force?: boolean | undefined;
  /** Values of `--force-with-lease`. */
  readonly leases?: readonly string[] | undefined;
}

export interface PushResult {
  /** Name. */
  readonly remote: string;
  readonly updates: readonly RefChange[];
  /** Objects that went. */
  readonly objects: number;
  readonly sentBytes: number;
  /** Since the first object was sent, where that was before the push. */
  readonly seconds: number;
}

/**
 * Sends versions to a remote and moves its refs, each only from where it was seen. Those that would lose versions are rejected, unless that is asked for; the
 * others go.
 * @param begun with the same remote; closed in any case
 * @throws ImgstoreError `NOT_FOUND`, `AMBIGUOUS`, `USAGE`, `BAD_NAME`, `REMOTE_…`
 */
export async function pushRefs(
  store: Store,
  request: PushRequest,
  monitor: Monitor = {},
  begun = new BegunPush(store, request.remote, monitor),
): Promise<PushResult> {
  const began = begun.sendingSince ?? performance.now();
  try {
    const { remote, transport, there } = await begun.seen(monitor);
    const leases = await Leases.parse(store, request.leases ?? []);
    const planned = await planPush(store, there, request, remote.push);
    const judge = new PushJudge(store, remote, there, leases, request.force ?? false);
    const judged: RefChange[] = [];
    for (const each of planned) judged.push(await judge.judge(each));
    const announcement = store.announceReading(judged.flatMap(({ to }) => to ?? []));
    try {
      const going = judged.filter(({ kind }) => kind !== 'rejected' && kind !== 'unchanged');
      const moves = going.map(({ ref, from, to }) => ({
        name: ref,
        before: from ?? NULL_ID,
        after: to ?? NULL_ID,
      }));
      const sent =
        moves.length === 0 ? { objects: 0, bytes: 0, results: [] } : await transport.push(moves, monitor);
      const updates = withResults(judged, sent.results);
      await follow(store, remote, updates);
      const seconds = (performance.now() - began) / 1000;
      return { remote: remote.name!, updates, objects: sent.objects, sentBytes: sent.bytes, seconds };
    } finally {
      announcement?.withdraw();
    }
  } finally {
    await begun.close();
  }
}

/** Says of each ref whether it may be moved on the remote. */
class PushJudge {
  readonly #store: Store;
  readonly #remote: Remote;
  readonly #there: ReadonlyMap<string, ObjectId>;
  readonly #leases: Leases;
  readonly #force: boolean;
  readonly #graph: CommitGraph;

  constructor(store: Store, remote: Remote, there: RemoteRefs, leases: Leases, force: boolean) {
    this.#store = store;
    this.#remote = remote;
    this.#there = new Map(there.refs.map(({ name, id }) => [name, id]));
    this.#leases = leases;
    this.#force = force;
    this.#graph = new CommitGraph(store.objects);
  }

  async judge({ ref, to, force }: PushedRef): Promise<RefChange> {
    const from = this.#there.get(ref);
    const reject = (reason: string): RefChange => ({ ref, from, to, kind: 'rejected', reason });
    const lease = await this.#leases.find(this.#store, this.#remote, ref);
    const isForced = force || this.#force;
    const broken = isForced ? undefined : whyBroken(lease, from);
    if (broken !== undefined) return reject(broken);
    if (to === undefined) return { ref, from, to, kind: 'deleted' };
    const unwanted = from === undefined ? newRefFault(ref) : undefined;
    if (unwanted !== undefined) return reject(unwanted.message);
    const kind = kindOfMove(this.#graph, ref, from, to);
    const mayForce = isForced || lease !== undefined;
    return kind === 'forced' && !mayForce ? reject(this.#whyNot(ref, from!)) : { ref, from, to, kind };
  }

  #whyNot(ref: string, from: ObjectId): string {
    if (ref.startsWith(TAGS)) return 'the remote has another tag of this name: --force replaces it';
    if (!this.#store.objects.has(from))
      return "the remote has versions that are not here: run 'imgstore fetch' and commit on them, or --force drops them";
    return "the remote has versions that are not in this one's history: commit on them, or --force drops them";
  }
}

/** Why a lease does not hold for a ref that is somewhere, or nowhere, on the remote. */
function whyBroken(lease: Lease | undefined, from: ObjectId | undefined): string | undefined {
  if (lease === undefined || (lease.at ?? NULL_ID) === (from ?? NULL_ID)) return undefined;
  if (lease.at === undefined)
    return 'it was never fetched, so nobody knows what would be lost: fetch first, or name its id in the lease';
  const at = from === undefined ? 'not there' : `at ${from.slice(0, 12)}`;
  return `it is ${at} on the remote, and not where the lease says: fetch first`;
}

function withResults(
  judged: readonly RefChange[],
  results: readonly RemoteUpdateResult[],
): readonly RefChange[] {
  const byName = new Map(results.map((result) => [result.name, result]));
  return judged.map((change) => {
    const { fault, moved } = byName.get(change.ref) ?? {};
    if (fault === undefined) return change;
    const reason = moved
      ? `somebody else has moved it meanwhile (${fault}): run 'imgstore fetch' and try again`
      : `the remote refuses it: ${fault}`;
    return { ...change, kind: 'rejected', reason };
  });
}

/** Refs below `refs/remotes/` are now where those of the remote are. */
async function follow(store: Store, remote: Remote, updates: readonly RefChange[]): Promise<void> {
  const specs = remote.fetch.map(parseRefspec);
  const changes: RefChange[] = [];
  for (const { ref, to, kind } of updates) {
    const here = kind === 'rejected' ? undefined : mapRef(specs, ref)?.name;
    if (here === undefined) continue;
    const { id: from } = await store.refs.follow(here);
    if (from === to) continue;
    changes.push({ ref: here, from, to, kind: to === undefined ? 'deleted' : 'forward' });
  }
  // The next fetch moves what cannot be moved now.
  await moveRefs(store, changes, () => 'update by push');
}
