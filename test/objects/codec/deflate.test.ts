import { deflateSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { type DeflateCodec, nodeDeflate, onDemand, pakoDeflate } from '../../../objects/index.ts';
import { damage, failure } from '../damage.ts';
import { mixed, noise } from '../noise.ts';
import { describeDeflate } from './deflate-conformance.ts';
import { isal, libdeflate } from './native-codecs.ts';

const CODECS: readonly DeflateCodec[] = [nodeDeflate, pakoDeflate, libdeflate, isal];

for (const codec of CODECS)
  describeDeflate(
    codec,
    CODECS.filter((peer) => peer !== codec),
  );

test.each([nodeDeflate, pakoDeflate])(
  '$name takes level 9 for the stronger levels that it does not have',
  (codec) => {
    const data = mixed(65_536, 3);
    const strongest = codec.deflate(data, 9);
    for (const level of [10, 11, 12]) expect(Buffer.compare(codec.deflate(data, level), strongest)).toBe(0);
  },
);

test('libdeflate makes shorter streams than zlib at levels that zlib does not have', () => {
  const data = mixed(65_536, 3);
  const strongest = nodeDeflate.deflate(data, 9).length;
  for (const level of [10, 11, 12]) expect(libdeflate.deflate(data, level).length).toBeLessThan(strongest);
});

test('libdeflate throws RangeError for a level that it does not have, and goes on', () => {
  for (const level of [-2, 13, 100])
    expect(() => libdeflate.deflate(Buffer.of(1), level)).toThrow(RangeError);
  expect(Buffer.from(libdeflate.inflate(libdeflate.deflate(Buffer.of(1), 12), 1))).toEqual(Buffer.of(1));
});

test('libdeflate finds room for what no codec makes shorter', () => {
  for (const size of [1, 100, 65_534, 65_535, 65_536, 131_070, 131_071, 1_000_000]) {
    const data = noise(size, size);
    for (const level of [0, 1, 12]) {
      const stream = libdeflate.deflate(data, level);
      expect(stream.length).toBeLessThanOrEqual(size + 5 * Math.ceil(size / 60_000) + 64);
      expect(Buffer.compare(nodeDeflate.inflate(stream, size), data)).toBe(0);
    }
  }
});

test('ISA-L makes streams of its own at the fastest level and leaves the others, and what is too long, to libdeflate', () => {
  const data = mixed(65_536, 3);
  expect(Buffer.compare(isal.deflate(data, 1), libdeflate.deflate(data, 1))).not.toBe(0);
  for (const level of [0, 2, 6, 12])
    expect(Buffer.compare(isal.deflate(data, level), libdeflate.deflate(data, level))).toBe(0);
  const long = mixed(2 ** 21 + 1, 3);
  expect(Buffer.compare(isal.deflate(long, 1), libdeflate.deflate(long, 1))).toBe(0);
});

test('ISA-L finds room for what it makes no shorter, and says that its level is the fastest', () => {
  for (const size of [1, 100, 65_534, 65_535, 65_536, 131_071, 2 ** 20, 2 ** 21]) {
    const data = noise(size, size);
    const stream = isal.deflate(data, 1);
    expect(stream.length).toBeLessThanOrEqual(size + 5 * Math.ceil(size / 60_000) + 64);
    expect(Buffer.compare(nodeDeflate.inflate(stream, size), data)).toBe(0);
    // RFC 1950, FLEVEL: by it `pack` knows what to deflate anew.
    expect(stream[1]! >> 6).toBeLessThan(2);
  }
});

/** Each result of `libdeflate_zlib_decompress_ex` that is no success, and what the message says of it. */
const DAMAGE: readonly (readonly [string, Buffer, number, RegExp])[] = [
  ['garbage', noise(100, 1), 100, /broken or cut short \(100 bytes/],
  ['nothing', Buffer.alloc(0), 1, /broken or cut short \(1 bytes/],
  ['a stream that is cut short', deflateSync('abc').subarray(0, -1), 3, /broken or cut short \(3 bytes/],
  ['a wrong checksum', Buffer.concat([deflateSync('abc').subarray(0, -4), Buffer.alloc(4)]), 3, /broken/],
  ['a stream that holds more', deflateSync('abc'), 2, /holds more \(2 bytes/],
  ['a stream that holds more than nothing', deflateSync('abc'), 0, /holds more \(0 bytes/],
  ['a stream that holds less', deflateSync('abc'), 4, /holds 3 bytes \(4 bytes/],
  ['a stream that holds nothing', deflateSync(''), 1, /holds 0 bytes \(1 bytes/],
];

test.each(DAMAGE)(
  'libdeflate.inflate throws DAMAGED with the reason for %s, and reads the next',
  (_, stream, size, why) => {
    const { message, data } = damage(() => libdeflate.inflate(stream, size));
    expect(message).toMatch(why);
    expect(data).toMatchObject({ size });
    expect(Buffer.from(libdeflate.inflate(deflateSync('abc'), 3)).toString()).toBe('abc');
  },
);

test('a stream of every codec at every level is inflated alike by every other', () => {
  const samples = [Buffer.alloc(0), Buffer.of(7), mixed(65_536, 4), noise(10_000, 4), Buffer.alloc(65_536)];
  for (const data of samples)
    for (const writer of CODECS)
      for (let level = 0; level <= 12; level++) {
        const stream = Buffer.concat([writer.deflate(data, level), noise(level, 1)]);
        for (const reader of CODECS)
          expect(
            Buffer.compare(reader.inflate(stream, data.length), data),
            `${reader.name} reads level ${level} of ${writer.name}`,
          ).toBe(0);
      }
});

test('onDemand inflates a MiB before it loads the codec, and has the codec do the rest', () => {
  let loads = 0;
  const asked: number[] = [];
  const codec = onDemand(() => {
    loads++;
    return {
      ...libdeflate,
      inflate: (stream, size) => {
        asked.push(size);
        return libdeflate.inflate(stream, size);
      },
    };
  });
  const data = mixed(65_536, 3);
  const stream = nodeDeflate.deflate(data, 6);
  for (let i = 0; i < 16; i++) expect(Buffer.compare(codec.inflate(stream, data.length), data)).toBe(0);
  expect([codec.inflatePrefix(stream).length > 0, loads]).toEqual([true, 0]);
  for (let i = 0; i < 2; i++) expect(Buffer.compare(codec.inflate(stream, data.length), data)).toBe(0);
  expect([loads, asked]).toEqual([1, [65_536, 65_536]]);
});

test('onDemand deflates with the codec from the first byte on', () => {
  const data = mixed(65_536, 3);
  const codec = onDemand(() => isal);
  expect(Buffer.compare(codec.deflate(data, 1), isal.deflate(data, 1))).toBe(0);
  expect([codec.name, codec.packLevel]).toEqual([isal.name, isal.packLevel]);
});

test('onDemand tells of a damaged stream in the words of the codec', () => {
  const stream = nodeDeflate.deflate(mixed(5000, 1), 6);
  const cases = [
    [stream.subarray(0, 100), 5000],
    [Buffer.from('no zlib stream'), 5000],
    [stream, 4999],
    [stream, 5001],
  ] as const;
  for (const [damaged, size] of cases) {
    const words = failure(() => libdeflate.inflate(damaged, size));
    expect(failure(() => onDemand(() => libdeflate).inflate(damaged, size))).toEqual(words);
  }
});
