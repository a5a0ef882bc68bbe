import { ImgstoreError } from '../errors/index.ts';

/** Who did something and when: git's `Name <email> <seconds> <zone>`. */
export interface Person {
  readonly name: string;
  readonly email: string;
  /** Seconds since 1970. */
  readonly seconds: number;
  /** Offset from UTC in minutes, east positive. */
  readonly zoneMinutes: number;
}

const PERSON_PATTERN = /^(.*?) ?<([^<>\n]*)> (-?[0-9]{1,15}) ([+-])([0-9]{2})([0-9]{2})$/;

/** The line as it stands in commits, tags and reflogs. Characters that would break it are left out, as git does. */
export function encodePerson(person: Person): string {
  const minutes = Math.abs(person.zoneMinutes);
  const zone = `${Math.floor(minutes / 60)}`.padStart(2, '0') + `${minutes % 60}`.padStart(2, '0');
  const sign = person.zoneMinutes < 0 ? '-' : '+';
  return `${clean(person.name)} <${clean(person.email)}> ${person.seconds} ${sign}${zone}`;
}

/**
 * Parses a line of {@link encodePerson}.
 * @throws ImgstoreError `DAMAGED` when it is not one.
 */
export function parsePerson(line: string): Person {
  const match = PERSON_PATTERN.exec(line);
  if (match === null)
    throw new ImgstoreError('DAMAGED', `'${line}' is not a name, e-mail and date`, { line });
  const [, name, email, seconds, sign, hours, minutes] = match as unknown as readonly string[];
  const zone = Number(hours) * 60 + Number(minutes);
  return {
    name: name!,
    email: email!,
    seconds: Number(seconds),
    zoneMinutes: sign === '-' && zone > 0 ? -zone : zone,
  };
}

/** The most seconds on either side of 1970 that a Date can tell, less a week for any zone. */
const MOST_SECONDS = 8_640_000_000_000 - 7 * 86_400;

/**
 * The date as ISO 8601 in the person's own zone: `2026-11-21T09:26:10+01:00`. Seconds beyond what a Date can tell give
 * 1970, as git shows them.
 */
export function isoDate(person: Person): string {
  const seconds = Math.abs(person.seconds) > MOST_SECONDS ? 0 : person.seconds;
  const local = new Date((seconds + person.zoneMinutes * 60) * 1000).toISOString().replace('.000Z', '');
  const minutes = Math.abs(person.zoneMinutes);
  const pad = (n: number) => `${n}`.padStart(2, '0');
  return `${local}${person.zoneMinutes < 0 ? '-' : '+'}${pad(Math.floor(minutes / 60))}:${pad(minutes % 60)}`;
}

function clean(text: string): string {
  return text
    .replace(/[\0\n<>]/g, '')
    .replace(/^[\s.,:;"'\\]+|[\s.,:;"'\\]+$/g, '')
    .trim();
}
