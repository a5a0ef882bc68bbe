import { deflateRawSync } from 'node:zlib';
import { compress } from '@cloudpss/zstd';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadDecompressor } from '../../../qcow2/reader/decompress.ts';
import { noise } from '../qemu.ts';

const SIZE = 65536;
const text = Buffer.alloc(SIZE, 'a cluster of text ');
const deflate = (bytes: Buffer) => deflateRawSync(bytes, { windowBits: 12 });
const zstd = (bytes: Uint8Array) => Buffer.from(compress(bytes));
const garbage = noise(700, 5);

/** A frame of zstd with its content in raw blocks and no size in its header. */
function rawFrame(content: Buffer, block: number): Buffer {
  const parts: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58])];
  for (let at = 0; at < content.length || at === 0; at += block) {
    const piece = content.subarray(at, at + block);
    const header = Buffer.alloc(3);
    header.writeUIntLE((piece.length << 3) | (at + block >= content.length ? 1 : 0), 0, 3);
    parts.push(header, piece);
  }
  return Buffer.concat(parts);
}

const LOADED = { zlib: await loadDecompressor('zlib'), zstd: await loadDecompressor('zstd') };

function decompressCluster(type: keyof typeof LOADED, stored: Buffer, clusterSize: number): Buffer {
  return LOADED[type](stored, clusterSize);
}

describe('loadDecompressor', () => {
  it.each([512, 4096, SIZE, 2 ** 21])(
    'gives a cluster of %i bytes back, with bytes after the stream',
    (size) => {
      for (const bytes of [Buffer.alloc(size), Buffer.alloc(size, 'abc'), noise(size, 3)]) {
        expect(decompressCluster('zlib', Buffer.concat([deflate(bytes), garbage]), size).equals(bytes)).toBe(
          true,
        );
        expect(decompressCluster('zstd', Buffer.concat([zstd(bytes), garbage]), size).equals(bytes)).toBe(
          true,
        );
      }
    },
  );

  it('joins several zstd frames, empty and skippable ones too', () => {
    const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    const stored = Buffer.concat([
      zstd(text.subarray(0, 1000)),
      skippable,
      zstd(Buffer.alloc(0)),
      rawFrame(text.subarray(1000, 30_000), 700),
      zstd(text.subarray(30_000)),
      garbage,
    ]);
    expect(decompressCluster('zstd', stored, SIZE).equals(text)).toBe(true);
  });

  it.each([
    ['too little', deflate(text.subarray(0, SIZE - 1))],
    ['too much', deflate(Buffer.alloc(SIZE + 1))],
    ['a thousand times too much', deflate(Buffer.alloc(SIZE * 1000))],
    ['garbage', Buffer.alloc(SIZE, 0xff)],
    ['zeros', Buffer.alloc(512)],
    ['a stream that is cut off', deflate(noise(SIZE, 4)).subarray(0, 30_000)],
    ['nothing', Buffer.alloc(0)],
  ])('fails when a deflate stream holds %s', (_, stored) => {
    expect(() => decompressCluster('zlib', stored, SIZE)).toThrow(Error);
  });

  it.each([
    ['too little', zstd(text.subarray(1))],
    ['too much', zstd(Buffer.alloc(SIZE + 1))],
    ['a frame past the end', Buffer.concat([zstd(text.subarray(1)), zstd(text)])],
    ['gigabytes', zstd(Buffer.alloc(2 ** 28))],
    ['garbage', Buffer.alloc(SIZE, 0xff)],
    ['zeros', Buffer.alloc(512)],
    ['a stream that is cut off', zstd(noise(SIZE, 4)).subarray(0, 30_000)],
    ['nothing', Buffer.alloc(0)],
    ['blocks without end', rawFrame(Buffer.alloc(40_000), 1)],
    ['a size that is a lie', Buffer.concat([zstd(text).subarray(0, 5), Buffer.alloc(600, 0xff)])],
  ])('fails when a zstd stream holds %s', (_, stored) => {
    expect(() => decompressCluster('zstd', stored, SIZE)).toThrow(Error);
  });

  it('gives a whole cluster or an error for random bytes', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('zlib' as const, 'zstd' as const),
        fc.array(fc.tuple(fc.nat({ max: 3000 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 6 }),
        (type, changes) => {
          const bytes = Buffer.concat([noise(1000, 8), Buffer.alloc(3096, 'x')]);
          const stored = type === 'zlib' ? deflate(bytes) : zstd(bytes);
          for (const [at, value] of changes) stored[at % stored.length] = value;
          let decoded: Buffer | undefined;
          try {
            decoded = decompressCluster(type, stored, 4096);
          } catch (error) {
            expect(error).toBeInstanceOf(Error);
          }
          expect(decoded?.length ?? 4096).toBe(4096);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
