import { counted } from '../errors/index.ts';
import { isoDate, type Person } from '../store/index.ts';

const UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** A size for people: `4 KiB`, `601.3 MiB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return counted(Math.round(bytes), 'byte');
  let unit = 0;
  let value = bytes / 1024;
  // What would be rounded up to 1024.0 belongs to the next unit.
  for (; value >= 1023.95 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${value.toFixed(1).replace(/\.0$/, '')} ${UNITS[unit]}`;
}

/** A time for people: `0.3 s`, `2 min 05 s`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${`${whole % 60}`.padStart(2, '0')} s`;
}

/** A share of something: `41.2%`. */
export function formatRatio(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)}%`;
}

/** The start of an id, as people read and type it. */
export function shortId(id: string): string {
  return id.slice(0, 12);
}

/** Where a removed ref was. */
export function wasAt(id: string | undefined): string {
  return id === undefined ? 'could not be read' : `was ${shortId(id)}`;
}

/** A person for JSON. */
export function personJson(person: Person) {
  return { name: person.name, email: person.email, date: isoDate(person) };
}
