import type { ObjectId } from '../../objects/index.ts';
import type { Monitor } from '../progress.ts';
import { BRANCHES, newRefFault } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { CommitGraph } from './commit-graph.ts';
import { type FetchResult, fetchBy, fetchResult } from './fetch.ts';
import { moveRefs } from './move-refs.ts';
import { nameHead } from './name-head.ts';
import { openTransport } from './open-transport.ts';
import type { FetchedRef } from './plan-fetch.ts';
import type { RefChange } from './ref-change.ts';
import { findRemote } from './remotes.ts';

export interface PullRequest {
  /** Name of the remote: `origin`, or the only one, when not given. */
  readonly remote?: string | undefined;
  /** Short names; all that are fetched from the remote, when there are none. */
  readonly branches: readonly string[];
}

export interface PullResult extends FetchResult {
  /** Branches of the store, beside those of the same names on the remote. `unchanged` are also those that have versions besides. */
  readonly branches: readonly RefChange[];
}

/**
 * Fetches, and moves the branches of the store to where the remote's of the same names are, when that loses nothing. The others are rejected.
 * @throws ImgstoreError as `fetchRemote`
 */
export async function pullBranches(
  store: Store,
  { remote: name, branches }: PullRequest,
  monitor: Monitor = {},
): Promise<PullResult> {
  const began = performance.now();
  const remote = findRemote(store, name);
  const transport = await openTransport(store, remote, 'fetch', monitor);
  try {
    const there = await transport.refs(monitor);
    const refspecs = branches.map((branch) => (branch.startsWith(BRANCHES) ? branch : BRANCHES + branch));
    const { updates, fetched, summary } = await fetchBy(
      store,
      { remote, transport, there, request: { refspecs } },
      monitor,
    );
    const rejected = new Set(updates.filter(({ kind }) => kind === 'rejected').map(({ ref }) => ref));
    const whole = fetched.filter(({ ref }) => !rejected.has(ref));
    const moved = await forwardBranches(store, whole, `pull ${remote.name}`);
    await nameHead(store, there.head, monitor);
    return { ...fetchResult(remote, updates, summary, began), branches: moved };
  } finally {
    await transport.close();
  }
}

/** Makes and moves branches of the store after those that were fetched. */
export async function forwardBranches(
  store: Store,
  fetched: readonly FetchedRef[],
  message: string,
): Promise<RefChange[]> {
  const graph = new CommitGraph(store.objects);
  const changes: RefChange[] = [];
  // What is fetched straight into a branch is there already.
  for (const { source, id, ref } of fetched)
    if (source.startsWith(BRANCHES) && !ref.startsWith(BRANCHES))
      changes.push(await judge(store, graph, source, id));
  return moveRefs(store, changes, ({ kind }) => `${message}: ${kind === 'new' ? 'new' : 'fast-forward'}`);
}

async function judge(store: Store, graph: CommitGraph, ref: string, to: ObjectId): Promise<RefChange> {
  const { id: from, fault } = await store.refs.follow(ref);
  const reject = (reason: string): RefChange => ({ ref, from, to, kind: 'rejected', reason });
  if (fault !== undefined) return reject(fault.message);
  if (from === undefined) {
    // A server may have branches that imgstore makes none of, as `HEAD`.
    const unwanted = newRefFault(ref);
    return unwanted === undefined ? { ref, from, to, kind: 'new' } : reject(unwanted.message);
  }
  if (from !== to && graph.isAncestor(from, to)) return { ref, from, to, kind: 'forward' };
  if (from === to || graph.isAncestor(to, from)) return { ref, from, to: from, kind: 'unchanged' };
  const short = ref.slice(BRANCHES.length);
  return reject(
    `it has versions that the remote's has not, and the other way round: commit on the remote's, or take that with 'imgstore branch -f ${short} ${to.slice(0, 12)}'`,
  );
}
