import { expect, test } from 'vitest';
import { type DatedVersion, keptByTime, matchesTag } from '../../../store/forget/policy.ts';

/** Versions at some times, newest first, named by them. */
function versions(...dates: readonly string[]): DatedVersion[] {
  return dates.map((id) => {
    const [, local, sign, hours] = /^(.*?)(?:([+-])(\d\d))?$/.exec(id)!;
    const zoneMinutes = (sign === '-' ? -1 : 1) * Number(hours ?? 0) * 60;
    const seconds = Date.parse(`${local}Z`) / 1000 - zoneMinutes * 60;
    return { id, committer: { name: 'A', email: 'a@example.org', seconds, zoneMinutes } };
  });
}

test('keptByTime keeps the newest when asked for the last', () => {
  const all = versions('2026-03-03T10:00:00', '2026-03-02T10:00:00', '2026-03-01T10:00:00');
  expect([...keptByTime(all, { last: 2 })]).toEqual(['2026-03-03T10:00:00', '2026-03-02T10:00:00']);
  expect([...keptByTime(all, { last: 9 })].length).toBe(3);
  expect([...keptByTime(all, { last: 0 })]).toEqual([]);
});

test('keptByTime keeps the newest of a day when there are several, and passes over days without one', () => {
  const all = versions(
    '2026-03-09T23:00:00',
    '2026-03-09T08:00:00',
    '2026-03-05T12:00:00',
    '2026-03-05T11:00:00',
    '2026-03-01T11:00:00',
  );
  expect([...keptByTime(all, { daily: 2 })]).toEqual(['2026-03-09T23:00:00', '2026-03-05T12:00:00']);
});

test('keptByTime counts days where the version was made', () => {
  const all = versions('2026-03-02T00:30:00+02', '2026-03-01T23:30:00+02', '2026-03-01T23:30:00-05');
  expect([...keptByTime(all, { daily: 1 })]).toEqual(['2026-03-02T00:30:00+02']);
  expect([...keptByTime(all, { daily: 2 })]).toEqual(['2026-03-02T00:30:00+02', '2026-03-01T23:30:00+02']);
});

test('keptByTime begins weeks on Monday and months on the first, across years', () => {
  // 4 January 2027 is a Monday.
  const all = versions(
    '2027-01-04T00:00:00',
    '2027-01-03T23:59:59',
    '2026-12-28T00:00:00',
    '2026-12-27T12:00:00',
  );
  expect([...keptByTime(all, { weekly: 3 })]).toEqual([
    '2027-01-04T00:00:00',
    '2027-01-03T23:59:59',
    '2026-12-27T12:00:00',
  ]);
  expect([...keptByTime(all, { monthly: 5 })]).toEqual(['2027-01-04T00:00:00', '2026-12-28T00:00:00']);
});

test('keptByTime keeps what any of the rules keeps', () => {
  const all = versions(
    '2026-03-09T12:00:00',
    '2026-03-08T12:00:00',
    '2026-02-08T12:00:00',
    '2025-02-08T12:00:00',
  );
  expect([...keptByTime(all, { last: 1, monthly: 2 })]).toEqual([
    '2026-03-09T12:00:00',
    '2026-02-08T12:00:00',
  ]);
});

test('matchesTag takes * and ? for any characters and all others for themselves', () => {
  expect(matchesTag('release-*', 'release-1.2')).toBe(true);
  expect(matchesTag('v?', 'v1')).toBe(true);
  expect(matchesTag('v?', 'v10')).toBe(false);
  expect(matchesTag('v.1', 'vx1')).toBe(false);
  expect(matchesTag('*', 'a/b')).toBe(true);
  expect(matchesTag('[a]', 'a')).toBe(false);
});
