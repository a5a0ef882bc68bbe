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

/** git's internal format (`1700000000 +0100`, also with `@`), or ISO 8601 and RFC 2822 with or without a zone. */
function parseDate(text: string): Moment {
  const internal = /^@?([0-9]+)(?:\s+([+-][0-9]{4}))?$/.exec(text.trim());
  if (internal !== null)
    return { seconds: Number(internal[1]), zoneMinutes: zoneMinutes(internal[2] ?? '+0000') };
  const milliseconds = Date.parse(text);
  if (Number.isNaN(milliseconds))
    throw new ImgstoreError('USAGE', `date '${text}' is not valid: write 2026-11-21T12:00:00+0100`, {
      date: text,
    });
  const zone = /([+-][0-9]{2}):?([0-9]{2})$/.exec(text.trim());
  const local = /Z$/i.test(text.trim()) ? 0 : -new Date(milliseconds).getTimezoneOffset();
  return {
    seconds: Math.floor(milliseconds / 1000),
    zoneMinutes: zone === null ? local : zoneMinutes(zone[1]! + zone[2]!),
  };
}

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
