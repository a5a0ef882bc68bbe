import { setTimeout as sleep } from 'node:timers/promises';
import { isImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { refuseHeldMidx } from '../../pack/index.ts';
import { ObjectMarks } from '../objects/marks.ts';
import { changePacks, checksumOf, type PackChange } from '../pack/change-packs.ts';
import { refreshMultiPackIndex } from '../pack/multi-pack-index.ts';
import { removeMtimes, removePacks } from '../pack/remove-packed.ts';
import type { SketchIndex } from '../pack/sketch-index.ts';
import type { Monitor } from '../progress.ts';
import { markReachable, type ReachOptions } from '../reach/mark-reachable.ts';
import { CLOCK_TICK_MS } from '../stat-cache.ts';
import type { Store } from '../store.ts';
import { type AnnouncedWork, Announcement, listWork } from '../work/announcement.ts';
import { abandonSweep, beginSweep, endSweep, readSweeps } from '../work/sweeps.ts';
import { expireForgotten, expireReflogs } from './expire-reflogs.ts';
import { type Cutoff, type GcPlan, GOES, type PackFate, planPacks } from './plan.ts';
import { refuseDamagedPacks, refuseLostRefs, refuseUnknownNeeds } from './refuse.ts';
import { rewritePacks } from './rewrite.ts';
import { readRoots, refuse } from './roots.ts';
import { looseUnreachable, mayGo, oldLoose, sweepLoose } from './sweep.ts';
import { parseWhen } from './when.ts';

/** git's own: `gc.pruneExpire`. */
const DEFAULT_PRUNE = '2 weeks';

/** Times in cruft packs are whole seconds, rounded up, so that nothing that a process at work has used seems older than it is. */
const CRUFT_TICK_MS = 1000;

export interface GcRequest {
  /** What nothing leads to and was used last before this goes (see {@link parseWhen}); `gc.pruneExpire` or two weeks when not given. */
  readonly prune?: string | undefined;
}

export interface GcResult extends PackChange {
  /** Objects that nothing led to, and that are gone. */
  readonly removed: number;
  /** Objects that nothing leads to, and that stay until they are old enough. */
  readonly unreachable: number;
  /** Packs that were written anew. */
  readonly rewritten: number;
  /** Who has been storing something since before the time that was asked for, so that nothing younger goes. */
  readonly heldBack: HeldBack | undefined;
}

/** A process that says that it is storing something; one of another machine or container may have been killed since. */
export interface HeldBack {
  /** The file that says so. */
  readonly path: string;
  readonly pid: number | undefined;
  readonly host: string | undefined;
  /** ISO 8601. */
  readonly since: string;
}

/**
 * Removes what nothing leads to: no ref, no line of a ref's log, no process at work. Others may commit, check out and move refs meanwhile. What stays is visible in new packs
 * before old ones go, so a kill at any time leaves every version whole.
 * @throws ImgstoreError `DAMAGED` when something that is needed cannot be read, and nothing was removed, `BUSY` when another process packs or collects, `USAGE` for a time that is
 *   none, `UNSUPPORTED` when the store forbids it or has working trees of git, `INTERRUPTED`, `IO`
 */
export async function collectGarbage(
  store: Store,
  request: GcRequest = {},
  monitor: Monitor = {},
): Promise<GcResult> {
  const prune = request.prune ?? store.config.get('gc.pruneExpire') ?? DEFAULT_PRUNE;
  parseWhen(prune, Date.now());
  refuseUnknownNeeds(store);
  const { made, change } = await changePacks(store, async (index) => {
    refuseDamagedPacks(store);
    const cutoff = await findCutoff(store, prune);
    const marks = await markLive(store, cutoff, monitor);
    const plan = planPacks(store, marks, cutoff, request.prune !== undefined);
    const swept = await collect({ store, marks, cutoff, index, monitor }, plan);
    const unreachable = plan.unreachable + looseUnreachable(store.objects, marks);
    return { swept: { ...swept, unreachable }, heldBack: cutoff.heldBack };
  });
  return { ...made.swept, ...change, heldBack: made.heldBack };
}

/**
 * What was used before the cutoff, by the file system's clock, may go: the time asked for, and never one after the beginning of what another process stores just now. What those use
 * that begin later is younger than now.
 */
async function findCutoff(store: Store, prune: string): Promise<Cutoff & Pick<GcResult, 'heldBack'>> {
  // Files that were written just now must be older than the moment that `now` means.
  await sleep(CLOCK_TICK_MS);
  const clock = Announcement.make(store.folder, store.rules, 'reads');
  const nowMs = clock.sinceMs;
  clock.withdraw();
  const writers = listWork(store.folder).filter(({ writes }) => writes);
  const askedMs = Math.min(parseWhen(prune, nowMs), nowMs);
  const [first] = writers.filter(({ sinceMs }) => sinceMs < askedMs).sort((a, b) => a.sinceMs - b.sinceMs);
  const fileMs = first?.sinceMs ?? askedMs;
  const cruftMs = fileMs + (writers.length === 0 ? CRUFT_TICK_MS : 0);
  return { fileMs, cruftMs, heldBack: first === undefined ? undefined : describeWork(first) };
}

function describeWork({ path, owner, sinceMs }: AnnouncedWork): HeldBack {
  return { path, pid: owner?.pid, host: owner?.host, since: new Date(sinceMs).toISOString() };
}

/** Marks what must stay. @throws ImgstoreError `DAMAGED` when it cannot be known. */
async function markLive(store: Store, cutoff: Cutoff, monitor: Monitor): Promise<ObjectMarks> {
  const marks = new ObjectMarks(store.objects);
  const { announced, refs } = await readRoots(store);
  refuseLostRefs(store, refs);
  await markStrictly(store, marks, refs, monitor);
  const logged = await expireReflogs(store, marks, Date.now());
  const forgotten = await expireForgotten(store, cutoff.fileMs);
  await markLeniently(store, marks, [...logged, ...forgotten], monitor, (_, fault) => {
    // What is gone cannot be kept, but what is damaged may be repaired.
    if (isImgstoreError(fault, 'DAMAGED')) throw refuse(fault);
  });
  await markLeniently(store, marks, announced, monitor);
  return marks;
}

async function markStrictly(
  store: Store,
  marks: ObjectMarks,
  roots: readonly ObjectId[],
  monitor: Monitor,
): Promise<void> {
  try {
    await markReachable(store.objects, marks, roots, { monitor });
  } catch (error) {
    throw isImgstoreError(error, 'NOT_FOUND') || isImgstoreError(error, 'DAMAGED') ? refuse(error) : error;
  }
}

/** What is not there any more cannot be kept. */
async function markLeniently(
  store: Store,
  marks: ObjectMarks,
  roots: readonly ObjectId[],
  monitor: Monitor,
  onLost: ReachOptions['onLost'] = () => {},
): Promise<void> {
  await markReachable(store.objects, marks, roots, { monitor, onLost });
}

interface Collection {
  readonly store: Store;
  readonly marks: ObjectMarks;
  readonly cutoff: Cutoff;
  readonly index: SketchIndex;
  readonly monitor: Monitor;
}

/** What a sweep came to. */
interface Swept {
  readonly removed: number;
  readonly rewritten: number;
}

async function collect(collection: Collection, { rewrite }: GcPlan): Promise<Swept> {
  const { store, marks, cutoff, monitor } = collection;
  const { packs } = store.objects;
  if (rewrite.length === 0 && oldLoose(store.objects, marks, cutoff.fileMs).length === 0) {
    // All that a sweep has left which did not come to its end is whole.
    if (readSweeps(store.folder).sweeper !== undefined) await endSweep(store);
    return { removed: 0, rewritten: 0 };
  }
  await refuseHeldMidx(packs.folder, store.rules);
  const made = await rewritePacks(store, rewrite, monitor);
  try {
    for (const { pending, isCruft } of made) {
      const stem = await pending.publish();
      // One of unreachable objects that are all reachable again has the same bytes, and so the same name.
      if (!isCruft) await removeMtimes(stem);
    }
  } catch (error) {
    for (const { pending } of made) await pending.discard();
    throw error;
  }
  packs.refresh();
  await beginSweep(store);
  try {
    const swept = await sweep(
      collection,
      rewrite,
      made.map(({ pending }) => pending.checksum),
    );
    await endSweep(store);
    return swept;
  } catch (error) {
    await abandonSweep(store);
    throw error;
  }
}

/** Removes what the plan says, but for what has come into use since. Whoever moves a ref from now on waits, and then looks whether all of the version is still there. */
async function sweep(
  { store, marks, cutoff, index, monitor }: Collection,
  rewritten: readonly PackFate[],
  made: readonly string[],
): Promise<Swept> {
  const { announced, refs } = await readRoots(store);
  await markStrictly(store, marks, refs, monitor);
  await markLeniently(store, marks, announced, monitor);
  const fates = rewritten.filter((fate) => !made.includes(checksumOf(fate.pack)) && mayGo(fate, marks));
  const old = fates.map(({ pack }) => pack);
  const loose = oldLoose(store.objects, marks, cutoff.fileMs);
  await refreshMultiPackIndex(store, old);
  await index.replacePacks(made, old.map(checksumOf));
  const removed = fates.reduce((sum, { counts }) => sum + counts[GOES]!, 0);
  await removePacks(store, old);
  const removedLoose = await sweepLoose(store, loose, marks, cutoff.fileMs);
  store.objects.packs.refresh();
  return { removed: removed + removedLoose, rewritten: old.length };
}
