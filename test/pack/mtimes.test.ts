import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeMtimes, MemoryBytes, Mtimes } from '../../pack/index.ts';

const CHECKSUM = Buffer.alloc(32, 7);

function open(bytes: Buffer, count: number): Mtimes {
  return new Mtimes(new MemoryBytes('a.mtimes', bytes), count, CHECKSUM);
}

test('Mtimes reads what encodeMtimes writes', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 0xffffffff })), (seconds) => {
      const times = open(encodeMtimes(seconds, CHECKSUM), seconds.length);
      times.verify();
      expect(seconds.map((_, position) => times.seconds(position))).toEqual(seconds);
    }),
  );
});

test('encodeMtimes rounds up, and keeps to what the format holds', () => {
  const times = open(encodeMtimes([1.2, -5, 2 ** 40], CHECKSUM), 3);
  expect([0, 1, 2].map((position) => times.seconds(position))).toEqual([2, 0, 0xffffffff]);
  expect(() => times.seconds(3)).toThrow(RangeError);
});

test.each<[string, (bytes: Buffer) => Buffer, string]>([
  ['is cut short', (bytes) => bytes.subarray(0, -1), 'DAMAGED'],
  ['is too long', (bytes) => Buffer.concat([bytes, bytes]), 'DAMAGED'],
  ['has another signature', (bytes) => bytes.fill(0, 0, 1), 'DAMAGED'],
  ['has another version', (bytes) => bytes.fill(9, 7, 8), 'UNSUPPORTED'],
  ['is for another hash', (bytes) => bytes.fill(1, 11, 12), 'UNSUPPORTED'],
  ['is for another pack', (bytes) => bytes.fill(0, bytes.length - 64, bytes.length - 32), 'DAMAGED'],
])('Mtimes refuses a file that %s', (_, damage, code) => {
  expect(() => open(damage(encodeMtimes([1, 2, 3], CHECKSUM)), 3)).toThrow(expect.objectContaining({ code }));
});

test('Mtimes.verify finds a changed time', () => {
  const bytes = encodeMtimes([1, 2, 3], CHECKSUM);
  bytes[14]! ^= 1;
  const times = open(bytes, 3);
  expect(() => times.verify()).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
});
