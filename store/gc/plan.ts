import { statSync } from 'node:fs';
import { fromSystem } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { FileBytes, Mtimes, type Pack, PackOrder } from '../../pack/index.ts';
import type { ObjectMarks } from '../objects/marks.ts';
import { isKept } from '../pack/plan.ts';
import type { Store } from '../store.ts';

/** What becomes of an object of a pack: it stays, it waits among the unreachable ones until it is old enough, it goes, or it stays in another pack. */
export const STAYS = 0;
export const WAITS = 1;
export const GOES = 2;
export const ELSEWHERE = 3;

/** A pack that is to be written anew. */
export interface PackFate {
  readonly pack: Pack;
  readonly isCruft: boolean;
  /** When the pack was made or used last, as it was when this was decided: ms since 1970. */
  readonly mtimeMs: number;
  /** By position: {@link STAYS}, {@link WAITS}, {@link GOES} or {@link ELSEWHERE}. */
  readonly fates: Uint8Array;
  /** Objects of each fate. */
  readonly counts: readonly number[];
  /** When an object was used last: seconds since 1970. */
  readonly usedSeconds: (position: number) => number;
}

/** What was used before these moments goes, if nothing leads to it: ms since 1970. */
export interface Cutoff {
  /** By the times of files. */
  readonly fileMs: number;
  /** By the times in cruft packs. */
  readonly cruftMs: number;
}

/** What `gc` does with packs. */
export interface GcPlan {
  readonly rewrite: readonly PackFate[];
  /** Objects that nothing leads to and that stay for now. */
  readonly unreachable: number;
}

/**
 * A pack with a smaller share of bytes that no version needs is left as it is, unless the user says what to prune: it would all be copied for little room.
 */
const LEAST_GARBAGE = 1 / 50;

/**
 * Which packs to write anew: those with enough that nothing leads to, and those of unreachable objects of which some have become old enough, or are reachable again.
 * @param marks what stays
 * @param cutoff what was used after it waits
 * @param thorough whatever it costs
 */
export function planPacks(store: Store, marks: ObjectMarks, cutoff: Cutoff, thorough: boolean): GcPlan {
  const { packs } = store.objects;
  const all = packs
    .packs()
    .filter((pack) => packs.isCruft(pack) || !isKept(pack))
    .map((pack) => decide(store, pack, marks, cutoff));
  const plain = all.filter((fate) => !fate.isCruft && hasGarbage(fate, thorough));
  const makesCruft = plain.some(({ counts }) => counts[WAITS]! > 0);
  // Those that wait are gathered in one pack.
  const cruft = all.filter((fate) => fate.isCruft && (makesCruft || fate.counts[WAITS]! < fate.fates.length));
  const rewrite = [...plain, ...cruft];
  const left = all.filter((fate) => !rewrite.includes(fate));
  const unreachable =
    all.reduce((sum, { counts }) => sum + counts[WAITS]!, 0) +
    left.reduce((sum, { counts }) => sum + counts[GOES]!, 0);
  return { rewrite, unreachable };
}

function decide(store: Store, pack: Pack, marks: ObjectMarks, cutoff: Cutoff): PackFate {
  const { packs } = store.objects;
  const isCruft = packs.isCruft(pack);
  const mtimeMs = modifiedMs(pack);
  const usedSeconds = isCruft ? readTimes(pack) : () => mtimeMs / 1000;
  const fates = new Uint8Array(pack.idx.count);
  const counts = [0, 0, 0, 0];
  for (let position = 0; position < fates.length; position++) {
    const fate = fateOf(pack.idx.id(position), usedSeconds(position));
    fates[position] = fate;
    counts[fate]!++;
  }
  return { pack, isCruft, mtimeMs, fates, counts, usedSeconds };

  function fateOf(id: ObjectId, seconds: number): number {
    if (marks.has(id)) return isCruft && packs.holder(id) !== undefined ? ELSEWHERE : STAYS;
    return seconds * 1000 < (isCruft ? cutoff.cruftMs : cutoff.fileMs) ? GOES : WAITS;
  }
}

/** The times of a cruft pack are read once: the file is closed again. */
function readTimes({ stem, idx }: Pack): (position: number) => number {
  const file = new FileBytes(`${stem}.mtimes`);
  try {
    const times = new Mtimes(file, idx.count, idx.packChecksum());
    const seconds = Float64Array.from({ length: idx.count }, (_, position) => times.seconds(position));
    return (position) => seconds[position]!;
  } finally {
    file.close();
  }
}

function hasGarbage({ pack, fates, counts }: PackFate, thorough: boolean): boolean {
  if (counts[WAITS]! + counts[GOES]! === 0) return false;
  if (thorough) return true;
  const order = new PackOrder(pack);
  let bytes = 0;
  for (const [i, position] of order.positions.entries())
    if (fates[position] !== STAYS) bytes += order.end(i) - order.offset(i);
  return bytes >= pack.fileBytes * LEAST_GARBAGE;
}

/** When a pack was made, or used again: ms since 1970. @throws ImgstoreError `NOT_FOUND`, `IO`. */
export function modifiedMs({ path }: Pack): number {
  try {
    return statSync(path).mtimeMs;
  } catch (error) {
    throw fromSystem(error, path);
  }
}
