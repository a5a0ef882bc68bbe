import { expect, test } from 'vitest';
import { parseWhen } from '../../../store/gc/when.ts';

const NOW = Date.parse('2026-11-21T12:00:00Z');
const DAY = 86_400_000;

test.each([
  ['now', NOW],
  ['never', Number.NEGATIVE_INFINITY],
  ['0d', NOW],
  ['2w', NOW - 14 * DAY],
  ['2.weeks.ago', NOW - 14 * DAY],
  ['14 days', NOW - 14 * DAY],
  ['14 days ago', NOW - 14 * DAY],
  ['1 day', NOW - DAY],
  ['36h', NOW - 1.5 * DAY],
  ['90 minutes', NOW - DAY / 16],
  ['5s', NOW - 5000],
  ['3 months', NOW - 90 * DAY],
  ['1y', NOW - 365 * DAY],
  ['2026-11-01T00:00Z', Date.parse('2026-11-01T00:00:00Z')],
  ['2026-11-01 10:30:05+01:00', Date.parse('2026-11-01T09:30:05Z')],
])('parseWhen takes %s for a moment', (text, moment) => {
  expect(parseWhen(text, NOW)).toBe(moment);
});

test.each([
  '',
  'soon',
  '2',
  'w',
  '2 fortnights',
  '-2w',
  '1.5d',
  '2026-13-01',
  '2w3d',
  '99999999d',
  'now now',
  '2w; rm',
])('parseWhen refuses %j', (text) => {
  expect(() => parseWhen(text, NOW)).toThrow(expect.objectContaining({ code: 'USAGE' }));
});
