import { expect, test } from 'vitest';
import { formatBytes, formatRatio, formatSeconds, personJson, shortId } from '../../cmd/format.ts';

test.each([
  [0, '0 bytes'],
  [1, '1 byte'],
  [2.4, '2 bytes'],
  [1023, '1023 bytes'],
  [1024, '1 KiB'],
  [1536, '1.5 KiB'],
  [70_000, '68.4 KiB'],
  [2 ** 20 - 1, '1 MiB'],
  [2 ** 20, '1 MiB'],
  [630_511_821, '601.3 MiB'],
  [2 ** 40, '1 TiB'],
  [5 * 2 ** 60, '5120 PiB'],
])('formatBytes(%d) is %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [0, '0.0 s'],
  [0.26, '0.3 s'],
  [59.9, '59.9 s'],
  [59.99, '1 min 00 s'],
  [125, '2 min 05 s'],
  [119.7, '2 min 00 s'],
])('formatSeconds(%d) is %s', (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});

test('formatRatio is a share in percent, and a dash when there is nothing to share', () => {
  expect(formatRatio(1, 3)).toBe('33.3%');
  expect(formatRatio(5, 0)).toBe('-');
});

test('shortId is the first twelve digits', () => {
  expect(shortId('0123456789abcdef'.repeat(4))).toBe('0123456789ab');
});

test('personJson has the date in ISO 8601 with the zone', () => {
  const person = { name: 'A', email: 'a@example.org', seconds: 1_700_000_000, zoneMinutes: 90 };
  expect(personJson(person)).toEqual({
    name: 'A',
    email: 'a@example.org',
    date: '2023-11-14T23:43:20+01:30',
  });
});
