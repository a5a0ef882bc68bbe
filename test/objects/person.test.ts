import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodePerson, isoDate, parsePerson } from '../../objects/index.ts';
import { anyPerson } from './arbitraries.ts';
import { damage } from './damage.ts';

test('parsePerson is the inverse of encodePerson', () => {
  fc.assert(
    fc.property(anyPerson, (person) => {
      expect(parsePerson(encodePerson(person))).toEqual(person);
    }),
  );
});

test('encodePerson leaves out what would break the line', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (name, email) => {
      const line = encodePerson({ name, email, seconds: 1, zoneMinutes: 0 });
      expect(line).toMatch(/^[^\0\n<>]* <[^\0\n<>]*> 1 \+0000$/);
      expect(encodePerson(parsePerson(line))).toBe(line);
    }),
  );
  expect(encodePerson({ name: ' "Jo. <Doe>\n', email: '<j@x>', seconds: 5, zoneMinutes: -90 })).toBe(
    'Jo. Doe <j@x> 5 -0130',
  );
});

test.each([
  ['A <a@b> 1 +0000', { name: 'A', email: 'a@b', seconds: 1, zoneMinutes: 0 }],
  ['A <a@b> 1 -0000', { name: 'A', email: 'a@b', seconds: 1, zoneMinutes: 0 }],
  ['A <a@b> -5 -0030', { name: 'A', email: 'a@b', seconds: -5, zoneMinutes: -30 }],
  [' <> 1 +1400', { name: '', email: '', seconds: 1, zoneMinutes: 840 }],
  ['<a@b> 1 +0000', { name: '', email: 'a@b', seconds: 1, zoneMinutes: 0 }],
])('parsePerson reads "%s"', (line, person) => {
  expect(parsePerson(line)).toEqual(person);
});

test.each([
  '',
  'A',
  'A <a@b>',
  'A <a@b> 1',
  'A <a@b> +0000',
  'A <a@b> 1 0000',
  'A <a@b> 1 +00',
  'A <a@b> 1 +00000',
  'A <a@b> x +0000',
  'A <a@b> 1.5 +0000',
  'A <a@b> 1 +0000 ',
  'A <a@b>1 +0000',
  'A a@b 1 +0000',
  `A <a@b> ${'9'.repeat(16)} +0000`,
])('parsePerson throws DAMAGED for "%s"', (line) => {
  expect(damage(() => parsePerson(line)).message).toContain(`'${line}'`);
});

test.each([
  [0, 0, '1970-01-01T00:00:00+00:00'],
  [1_700_000_000, 90, '2023-11-14T23:43:20+01:30'],
  [1_700_000_000, -30, '2023-11-14T21:43:20-00:30'],
  [-1, -480, '1969-12-31T15:59:59-08:00'],
])('isoDate of %i s at %i min is %s', (seconds, zoneMinutes, expected) => {
  expect(isoDate({ name: '', email: '', seconds, zoneMinutes })).toBe(expected);
});

test('isoDate gives a date for every person that parsePerson takes', () => {
  fc.assert(
    fc.property(fc.integer({ min: -(10 ** 15) + 1, max: 10 ** 15 - 1 }), (seconds) => {
      const date = isoDate(parsePerson(`A <a@b> ${seconds} +9959`));
      expect(date).toMatch(/^[+-]?[0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+99:59$/);
    }),
    { examples: [[10 ** 15 - 1], [253402300800]] },
  );
});
