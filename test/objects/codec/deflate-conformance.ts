import { constants, deflateRawSync, deflateSync, gzipSync, inflateSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type DeflateCodec, deflateRoom, mostInflated, PREFIX_STREAM_BYTES } from '../../../objects/index.ts';
import { damage } from '../damage.ts';
import { mixed, noise } from '../noise.ts';

const CLUSTER = 65_536;

/** The strongest of {@link DeflateCodec}; a codec that has fewer takes its strongest for it. */
const STRONGEST_LEVEL = 12;

const SAMPLES: readonly (readonly [string, Buffer])[] = [
  ['nothing', Buffer.alloc(0)],
  ['one byte', Buffer.of(7)],
  ['63 bytes', noise(63, 1)],
  ['64 bytes', noise(64, 1)],
  ['a cluster of zeros', Buffer.alloc(CLUSTER)],
  ['a cluster of noise', noise(CLUSTER, 2)],
  ['a mixed cluster', mixed(CLUSTER, 3)],
  ['2 MiB of noise', noise(2 ** 21, 4)],
];

/**
 * Declares the tests that every {@link DeflateCodec} must pass.
 * @param peers implementations whose streams it must read, and which must read its own
 */
export function describeDeflate(codec: DeflateCodec, peers: readonly DeflateCodec[]): void {
  const same = (found: Uint8Array, expected: Uint8Array) => Buffer.compare(found, expected) === 0;
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 500 }),
    fc.tuple(fc.nat(5000), fc.nat(20)).map(([length, seed]) => mixed(length, seed)),
  );
  const level = fc.integer({ min: 0, max: STRONGEST_LEVEL });

  describe(`${codec.name} conforms to DeflateCodec`, () => {
    describe.each(SAMPLES)('%s', (_, data) => {
      test.each([0, 1, 6, 9, 10, 11, STRONGEST_LEVEL, codec.packLevel])(
        `${codec.name} brings it back from level %i`,
        (at) => {
          expect(same(codec.inflate(codec.deflate(data, at), data.length), data)).toBe(true);
        },
      );

      test.each([0, 1, 6, STRONGEST_LEVEL])(
        `${codec.name}.deflateInto and inflateInto do the same as deflate and inflate at level %i, also in shared memory`,
        (at) => {
          const expected = codec.deflate(data, at);
          const room = new Uint8Array(new SharedArrayBuffer(deflateRoom(data.length) + 20), 10);
          room.fill(0xee);
          const length = codec.deflateInto(data, at, room.subarray(0, deflateRoom(data.length)));
          expect(same(room.subarray(0, length), expected)).toBe(true);
          expect(room.subarray(deflateRoom(data.length)).every((byte) => byte === 0xee)).toBe(true);
          const whole = Buffer.alloc(data.length + 20, 0xee);
          codec.inflateInto(expected, whole.subarray(10, 10 + data.length));
          expect(same(whole.subarray(10, 10 + data.length), data)).toBe(true);
          expect(
            [...whole.subarray(0, 10), ...whole.subarray(10 + data.length)].every((byte) => byte === 0xee),
          ).toBe(true);
        },
      );

      test(`${codec.name}.inflate throws DAMAGED when the size is wrong`, () => {
        const stream = codec.deflate(data, 6);
        for (const size of [data.length + 1, data.length - 1, 2 * data.length + 100, 0]) {
          if (size < 0 || size === data.length) continue;
          damage(() => codec.inflate(stream, size));
          damage(() => codec.inflateInto(stream, new Uint8Array(size)));
        }
      });

      test(`${codec.name}.inflate throws DAMAGED when the stream is cut short`, () => {
        const stream = codec.deflate(data, 6);
        for (const left of [0, 1, 2, 3, stream.length >> 1, stream.length - 4, stream.length - 1]) {
          damage(() => codec.inflate(stream.subarray(0, left), data.length));
        }
      });

      test(`${codec.name}.inflate throws DAMAGED when the checksum is wrong`, () => {
        const stream = Buffer.from(codec.deflate(data, 6));
        stream[stream.length - 1]! ^= 1;
        damage(() => codec.inflate(stream, data.length));
      });

      test(`${codec.name}.inflatePrefix gives the first bytes`, () => {
        const stream = codec.deflate(data, 6);
        const start = codec.inflatePrefix(stream);
        expect(start.length).toBeLessThanOrEqual(mostInflated(PREFIX_STREAM_BYTES));
        expect(start.length).toBeGreaterThanOrEqual(Math.min(data.length, 64));
        expect(same(start, data.subarray(0, start.length))).toBe(true);
      });
    });

    for (const peer of peers) {
      test(`${codec.name}.inflate reads what ${peer.name} wrote, and the other way round`, () => {
        fc.assert(
          fc.property(bytes, level, (data, at) => {
            expect(same(codec.inflate(peer.deflate(data, at), data.length), data)).toBe(true);
            expect(same(peer.inflate(codec.deflate(data, at), data.length), data)).toBe(true);
          }),
        );
      });
    }

    test(`${codec.name}.inflate ignores bytes behind the stream`, () => {
      fc.assert(
        fc.property(bytes, level, fc.uint8Array({ maxLength: 100 }), (data, at, behind) => {
          const stream = Buffer.concat([codec.deflate(data, at), behind]);
          expect(same(codec.inflate(stream, data.length), data)).toBe(true);
        }),
      );
    });

    test(`${codec.name}.inflate ignores a second stream behind the first`, () => {
      const stream = codec.deflate(Buffer.from('first'), 6);
      expect(same(codec.inflate(Buffer.concat([stream, stream]), 5), Buffer.from('first'))).toBe(true);
      damage(() => codec.inflate(Buffer.concat([stream, stream]), 10));
    });

    test(`${codec.name} takes and gives nothing: a stream of 0 bytes is not cut short, and no bytes are no stream`, () => {
      for (let at = 0; at <= STRONGEST_LEVEL; at++) {
        const stream = codec.deflate(Buffer.alloc(0), at);
        expect(inflateSync(stream)).toHaveLength(0);
        expect(codec.inflate(stream, 0)).toHaveLength(0);
        expect(codec.inflate(Buffer.concat([stream, noise(10, at)]), 0)).toHaveLength(0);
        expect(codec.inflatePrefix(stream)).toHaveLength(0);
        damage(() => codec.inflate(stream, 1));
      }
      damage(() => codec.inflate(Buffer.alloc(0), 0));
    });

    test(`${codec.name}.deflate makes no longer stream at a stronger level than at the fastest`, () => {
      const data = mixed(CLUSTER, 8);
      const fastest = codec.deflate(data, 1).length;
      for (let at = 2; at <= STRONGEST_LEVEL; at++)
        expect(codec.deflate(data, at).length).toBeLessThanOrEqual(fastest);
      expect(codec.deflate(data, STRONGEST_LEVEL).length).toBeLessThan(fastest);
    });

    test(`${codec.name}.deflate gives the same stream each time, whatever came between`, () => {
      const [data, other] = [mixed(CLUSTER, 9), noise(5000, 9)];
      const first = [1, 9, STRONGEST_LEVEL].map((at) => Buffer.from(codec.deflate(data, at)));
      codec.deflate(other, STRONGEST_LEVEL);
      damage(() => codec.inflate(other, 100));
      const second = [1, 9, STRONGEST_LEVEL].map((at) => codec.deflate(data, at));
      for (const [i, stream] of second.entries()) expect(same(stream, first[i]!)).toBe(true);
    });

    test(`${codec.name} gives bytes that a later call does not change`, () => {
      const data = mixed(3000, 1);
      const stream = codec.deflate(data, 6);
      const copy = Buffer.from(stream);
      const inflated = codec.inflate(stream, data.length);
      for (let seed = 0; seed < 20; seed++) {
        const other = noise(3000, seed);
        codec.inflate(codec.deflate(other, 6), other.length);
      }
      expect(same(stream, copy)).toBe(true);
      expect(same(inflated, data)).toBe(true);
    });

    test(`${codec.name}.deflate takes a view into a larger buffer and leaves it as it is`, () => {
      const around = mixed(3000, 2);
      const before = Buffer.from(around);
      for (const at of [0, 1, 6, STRONGEST_LEVEL]) {
        const stream = codec.deflate(around.subarray(1001, 2002), at);
        expect(same(inflateSync(stream), before.subarray(1001, 2002))).toBe(true);
      }
      expect(same(around, before)).toBe(true);
    });

    test(`${codec.name}.inflate takes a view into a larger buffer`, () => {
      const stream = codec.deflate(Buffer.from('abc'), 6);
      const around = Buffer.concat([noise(3, 1), stream, noise(3, 2)]);
      expect(same(codec.inflate(around.subarray(3), 3), Buffer.from('abc'))).toBe(true);
    });

    test(`${codec.name}.inflate reads streams of any strategy and window`, () => {
      const data = mixed(20_000, 5);
      for (const strategy of [constants.Z_FIXED, constants.Z_HUFFMAN_ONLY, constants.Z_RLE]) {
        for (const windowBits of [9, 15]) {
          const stream = deflateSync(data, { strategy, windowBits });
          expect(same(codec.inflate(stream, data.length), data)).toBe(true);
        }
      }
    });

    test(`${codec.name}.inflate gives the data or DAMAGED when a byte of the stream is changed`, () => {
      const data = mixed(3000, 1);
      const stream = Buffer.from(codec.deflate(data, 6));
      fc.assert(
        fc.property(fc.nat(stream.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
          const hostile = Buffer.from(stream);
          hostile[at]! ^= flip;
          try {
            expect(same(codec.inflate(hostile, data.length), data)).toBe(true);
          } catch (error) {
            expect(error).toMatchObject({ code: 'DAMAGED' });
          }
        }),
      );
    });

    test.each([
      ['garbage', noise(1000, 9)],
      ['zeros', Buffer.alloc(1000)],
      ['nothing', Buffer.alloc(0)],
      ['a gzip stream', gzipSync('abc')],
      ['a stream without a frame', deflateRawSync('abc')],
      ['a stream that wants a dictionary', deflateSync('abc', { dictionary: Buffer.from('abc') })],
    ])(`${codec.name} throws DAMAGED for %s`, (_, stream) => {
      for (const size of [0, 3, 1000]) damage(() => codec.inflate(stream, size));
      damage(() => codec.inflatePrefix(stream));
    });

    test(`${codec.name}.inflate names the size and the reason when it fails`, () => {
      const { message, data } = damage(() => codec.inflate(codec.deflate(Buffer.from('abc'), 6), 2));
      expect(message).toMatch(/^deflated data is not valid: .+ \(2 bytes were to come\)$/);
      expect(data).toMatchObject({ size: 2 });
    });

    test(`${codec.name}.inflatePrefix gives a bounded start when the stream expands without end`, () => {
      const bomb = deflateSync(Buffer.alloc(2 ** 24), { level: 9 });
      expect(codec.inflatePrefix(bomb).length).toBeLessThanOrEqual(mostInflated(PREFIX_STREAM_BYTES));
    });

    test(`${codec.name}.inflate stops at the size when the stream expands without end`, () => {
      const bomb = deflateSync(Buffer.alloc(2 ** 26), { level: 9 });
      damage(() => codec.inflate(bomb, 1000));
    });

    test(`${codec.name}.inflatePrefix gets past the tables of a first block, however long they are`, () => {
      for (let seed = 0; seed < 30; seed++) {
        // The code of a byte is the longer the rarer it is; scattered, so that neighbours have nothing in common.
        const random = noise(120_000, seed);
        const data = Buffer.alloc(60_000).map((_, i) => {
          const rarity = Math.min(
            11,
            Math.clz32(random[i]! | 1) - 24 + (random[i]! < 4 ? random[i + 60_000]! % 4 : 0),
          );
          return ((rarity + 12 * (random[i + 60_000]! % 21)) * 167) % 256;
        });
        for (const at of [1, 6, 9, STRONGEST_LEVEL]) {
          const start = codec.inflatePrefix(codec.deflate(data, at));
          expect(start.length).toBeGreaterThanOrEqual(24);
          expect(same(start, data.subarray(0, start.length))).toBe(true);
        }
      }
    });

    test(`${codec.name}.inflatePrefix looks at no more than PREFIX_STREAM_BYTES`, () => {
      const stream = Buffer.from(codec.deflate(noise(1000, 1), 0));
      const start = codec.inflatePrefix(stream);
      stream.fill(0xff, PREFIX_STREAM_BYTES);
      expect(same(codec.inflatePrefix(stream), start)).toBe(true);
    });
  });
}
