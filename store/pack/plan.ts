import { existsSync, statSync } from 'node:fs';
import type { ObjectId } from '../../objects/index.ts';
import type { Pack } from '../../pack/index.ts';
import type { Store } from '../store.ts';

/**
 * A pack is left as it is when it has at least this many times the objects of all that is smaller. So a store has at most log₁₆ of its objects packs,
 * and each object is copied O(log n) times in a store's life (git: `git repack --geometric`, which takes 2; copying costs little here beside
 * finding bases, and an object's base must be in its own pack, so few large packs are worth some copying).
 */
export const GEOMETRIC_FACTOR = 16;

/**
 * Fresh objects that one round gathers: as many as `commit` puts into one pack, so that any of its packs fits. Each takes some 250 bytes of memory while it is packed.
 */
const MOST_GATHERED = 262_144;

/** Packs of so many objects or bytes are not packed again but by `--aggressive`, so that neither memory nor the room for a second copy grows with the store. */
const FULL_PACK_OBJECTS = 1_048_576;
const FULL_PACK_BYTES = 64 * 2 ** 30;

/** What one round of `pack` gathers into a new pack. */
export interface PackPlan {
  /** The largest of the packs, taken over byte for byte, with its deltas. */
  readonly body: Pack | undefined;
  /** Packs whose objects are taken one by one. */
  readonly sources: readonly Pack[];
  readonly loose: readonly ObjectId[];
}

/**
 * Which packs and loose objects to gather; undefined when there is nothing to do.
 * @param isSettled whether a pack's objects have been offered bases: others are always gathered
 */
export function planPack(
  store: Store,
  isSettled: (pack: Pack) => boolean,
  { aggressive }: { readonly aggressive: boolean },
): PackPlan | undefined {
  const { loose: looseObjects } = store.objects;
  // An empty file, as a power failure leaves it, is no object, and would be gathered in every round again.
  const allLoose = [...looseObjects.ids()].filter((id) => looseObjects.has(id));
  const packs = store.objects.packs
    .packs()
    .filter((pack) => !isKept(pack))
    .sort((a, b) => a.idx.count - b.idx.count);
  if (aggressive)
    return packs.length + allLoose.length === 0
      ? undefined
      : { body: undefined, sources: packs, loose: allLoose };

  const small = packs.filter((pack) => !isFull(pack));
  const isFresh = (pack: Pack) => !isSettled(pack) && pack.idx.count <= MOST_GATHERED;
  const { fresh, loose } = firstRound(small.filter(isFresh), allLoose);
  const settled = small.filter((pack) => !isFresh(pack));
  const count = rollUpCount(
    loose.length + fresh.reduce((sum, pack) => sum + pack.idx.count, 0),
    settled.map((pack) => pack.idx.count),
  );
  const gathered = settled.slice(0, count);
  if (loose.length + fresh.length === 0 && gathered.length < 2) return undefined;
  const body = gathered.pop();
  return { body, sources: [...gathered, ...fresh], loose };
}

function modifiedMs({ path }: Pack): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** The newest, which stay whole when older ones come after them: loose objects, then packs, as many as one round gathers. */
function firstRound(
  fresh: readonly Pack[],
  allLoose: readonly ObjectId[],
): { readonly fresh: readonly Pack[]; readonly loose: readonly ObjectId[] } {
  const loose = allLoose.slice(0, MOST_GATHERED);
  const times = new Map(fresh.map((pack) => [pack, modifiedMs(pack)]));
  const newest = [...fresh].sort((a, b) => times.get(b)! - times.get(a)!);
  let objects = loose.length;
  const tooMany = newest.findIndex((pack) => {
    objects += pack.idx.count;
    return objects > MOST_GATHERED;
  });
  return { fresh: tooMany < 0 ? newest : newest.slice(0, tooMany), loose };
}

/**
 * How many of some packs, the smallest first, must be gathered with `fresh` objects so that every other has {@link GEOMETRIC_FACTOR} times the objects of all
 * that is smaller.
 * @param counts objects of each pack, ascending
 */
export function rollUpCount(fresh: number, counts: readonly number[]): number {
  let below = fresh;
  let gathered = 0;
  for (const [i, count] of counts.entries()) {
    if (count < GEOMETRIC_FACTOR * below) gathered = i + 1;
    below += count;
  }
  return gathered;
}

/** Whether `pack` leaves a pack alone but with `--aggressive`, or always. */
export function staysAsItIs(pack: Pack): boolean {
  return isKept(pack) || isFull(pack);
}

/** Packs that git is told to keep, and those of unreachable objects, which are gc's. */
export function isKept({ stem }: Pack): boolean {
  return ['keep', 'promisor', 'mtimes'].some((ending) => existsSync(`${stem}.${ending}`));
}

function isFull({ idx, fileBytes }: Pack): boolean {
  return idx.count >= FULL_PACK_OBJECTS || fileBytes >= FULL_PACK_BYTES;
}
