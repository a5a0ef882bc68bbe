import type { ObjectId, Person } from '../../objects/index.ts';

/** Which versions of a branch to keep; a version is kept when one of the rules keeps it. */
export interface KeepPolicy {
  /** The newest, this many. */
  readonly last?: number | undefined;
  /** The newest of each of the last so many days that have a version. */
  readonly daily?: number | undefined;
  /** The same by weeks, which begin on Monday (ISO 8601). */
  readonly weekly?: number | undefined;
  /** The same by months. */
  readonly monthly?: number | undefined;
  /** Versions with a tag that one of these names; `*` and `?` stand for any characters. Without any, all that have a tag. */
  readonly tags?: readonly string[] | undefined;
}

/** A version with the time that it was made. */
export interface DatedVersion {
  readonly id: ObjectId;
  readonly committer: Person;
}

const DAY_SECONDS = 86_400;
/** 1 January 1970 was a Thursday. */
const DAYS_TO_MONDAY = 3;

/** The versions that the rules of time keep. @param versions newest first */
export function keptByTime(versions: readonly DatedVersion[], policy: KeepPolicy): ReadonlySet<ObjectId> {
  const days = versions.map(({ committer }) => dayOf(committer));
  return new Set([
    ...versions.slice(0, policy.last ?? 0).map(({ id }) => id),
    ...newestOfEach(versions, days, policy.daily),
    ...newestOfEach(
      versions,
      days.map((day) => Math.floor((day + DAYS_TO_MONDAY) / 7)),
      policy.weekly,
    ),
    ...newestOfEach(versions, days.map(monthOf), policy.monthly),
  ]);
}

/** Whether a pattern of `--keep-tag` means a tag. */
export function matchesTag(pattern: string, tag: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 's').test(tag);
}

function newestOfEach<T>(versions: readonly DatedVersion[], periods: readonly T[], count = 0): ObjectId[] {
  const newest = new Map<T, ObjectId>();
  for (const [i, { id }] of versions.entries()) {
    const period = periods[i]!;
    if (newest.has(period)) continue;
    if (newest.size === count) break;
    newest.set(period, id);
  }
  return [...newest.values()];
}

/** Days since 1970 where the version was made, by its own time zone. */
function dayOf({ seconds, zoneMinutes }: Person): number {
  return Math.floor((seconds + zoneMinutes * 60) / DAY_SECONDS);
}

function monthOf(day: number): number {
  const date = new Date(day * DAY_SECONDS * 1000);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}
