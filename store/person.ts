import { hostname, userInfo } from 'node:os';
import { ImgstoreError } from '../errors/index.ts';
import type { Person } from '../objects/index.ts';
import type { Config } from './config/config.ts';

/** In which part somebody acts; git has settings and variables for each. */
export type Role = 'author' | 'committer';

/**
 * Who acts now: `GIT_<ROLE>_NAME`, `_EMAIL`, `_DATE`, else `<role>.name`/`user.name` and `.email` of the config, else user@host.
 * @throws ImgstoreError `USAGE` when the date is not one.
 */
export function currentPerson(
  role: Role,
  config: Config,
  environment: NodeJS.ProcessEnv = process.env,
): Person {
  const variable = (field: string) => environment[`GIT_${role.toUpperCase()}_${field}`] || undefined;
  const setting = (field: string) =>
    config.get(`${role}.${field}`) || config.get(`user.${field}`) || undefined;
  const user = userName(environment);
  const date = variable('DATE');
  return {
    name: variable('NAME') ?? setting('name') ?? user,
    email: variable('EMAIL') ?? setting('email') ?? environment.EMAIL ?? `${user}@${hostname()}`,
    ...(date === undefined ? now() : parseDate(date)),
  };
}

interface Moment {
  readonly seconds: number;
  readonly zoneMinutes: number;
}

function now(): Moment {
  const date = new Date();
  return { seconds: Math.floor(date.getTime() / 1000), zoneMinutes: -date.getTimezoneOffset() };
}

/** A date of ISO 8601, RFC 2822 or `git log`, with a time. `Date.parse` alone takes almost anything for a date. */
const DATE_PATTERN =
  /^(?:\d{4}-\d{2}-\d{2}[T ]|(?:[a-z]{3},? +)?(?:\d{1,2} +[a-z]{3}|[a-z]{3} +\d{1,2}) +).*\d{1,2}:\d{2}/i;

/** git's internal format (`1700000000 +0100`, also with `@`), or ISO 8601 and RFC 2822; without a zone the time is local. */
function parseDate(text: string): Moment {
  const date = text.trim();
  const internal = /^@?([0-9]+)(?:\s+([+-][0-9]{4}))?$/.exec(date);
  const milliseconds =
    internal !== null ? Number(internal[1]) * 1000 : DATE_PATTERN.test(date) ? Date.parse(date) : Number.NaN;
  const local = -new Date(milliseconds).getTimezoneOffset();
  if (Number.isNaN(local))
    throw new ImgstoreError('USAGE', `date '${text}' is not valid: write 2026-11-21T12:00:00+0100`, {
      date: text,
    });
  const zone = /([+-][0-9]{2}):?([0-9]{2})(?: \([A-Z]+\))?$/i.exec(date);
  const universal = /(?:Z|GMT|UTC)$/i.test(date);
  const moment = {
    seconds: Math.floor(milliseconds / 1000),
    zoneMinutes: zone !== null ? zoneMinutes(zone[1]! + zone[2]!) : universal ? 0 : local,
  };
  // git's fsck takes neither a date before 1970 nor a zone that no place has.
  if (moment.seconds < 0 || Math.abs(moment.zoneMinutes) > MOST_ZONE_MINUTES)
    throw new ImgstoreError('USAGE', `date '${text}' is before 1970 or in no zone of this world`, {
      date: text,
    });
  return moment;
}

/** The zone furthest from UTC is +1400. */
const MOST_ZONE_MINUTES = 14 * 60;

function zoneMinutes(zone: string): number {
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3, 5));
  return zone.startsWith('-') ? -minutes : minutes;
}

/** The user's name; a user id without a name (as in containers) has none. */
function userName(environment: NodeJS.ProcessEnv): string {
  try {
    return userInfo().username;
  } catch {
    return environment.USER ?? environment.LOGNAME ?? 'unknown';
  }
}
