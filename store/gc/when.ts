import { ImgstoreError } from '../../errors/index.ts';

const SECOND = 1000;
const DAY = 86_400 * SECOND;

const UNITS: Readonly<Record<string, number>> = {
  s: SECOND,
  second: SECOND,
  min: 60 * SECOND,
  minute: 60 * SECOND,
  h: 3600 * SECOND,
  hour: 3600 * SECOND,
  d: DAY,
  day: DAY,
  w: 7 * DAY,
  week: 7 * DAY,
  month: 30 * DAY,
  y: 365 * DAY,
  year: 365 * DAY,
};

const AGE_PATTERN = /^(\d{1,6})[ .]?([a-z]+?)s?(?:[ .]ago)?$/;
const DATE_PATTERN = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:?\d\d)?)?$/i;

/**
 * The moment that a text means: `now`, `never`, an age (`2w`, `36h`, `14 days`, `2.weeks.ago`), or a date (`2026-11-05`, `2026-11-05 12:30`), as the settings of
 * git that say when something expires.
 * @param nowMs ms since 1970
 * @returns ms since 1970; −∞ for `never`
 * @throws ImgstoreError `USAGE`
 */
export function parseWhen(text: string, nowMs: number): number {
  const plain = text.trim().toLowerCase();
  if (plain === 'now' || plain === 'all') return nowMs;
  if (plain === 'never' || plain === 'false') return Number.NEGATIVE_INFINITY;
  const [, count, unit] = AGE_PATTERN.exec(plain) ?? [];
  const length = unit === undefined ? undefined : UNITS[unit];
  if (length !== undefined) return nowMs - Number(count) * length;
  const date = DATE_PATTERN.test(plain) ? Date.parse(plain.toUpperCase().replace(' ', 'T')) : Number.NaN;
  if (!Number.isNaN(date)) return date;
  throw new ImgstoreError(
    'USAGE',
    `'${text}' is no time: write now, never, an age like 2w or 14.days.ago, or a date like 2026-11-05`,
    { text },
  );
}
