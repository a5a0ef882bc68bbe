import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { BlockSource, Extent } from '../../block/index.ts';
import { isZero, PieceReader } from '../../block/index.ts';
import { mixedDisk } from './model-disk.ts';

/** What the suite must know of a kind of source. */
export interface ConformanceOptions {
  /** Disk sizes are multiples of this many bytes; 512 for formats that count in sectors. Default 1. */
  readonly unit?: number;
  /** False for a kind that has no disks of size 0. Default true. */
  readonly emptyDisks?: boolean;
  /** Random ranges tried by each property. Default 200. */
  readonly runs?: number;
}

/** Makes a source whose disk holds exactly these bytes. The suite closes the source. */
export type MakeSource = (disk: Uint8Array) => Promise<BlockSource>;

/**
 * Declares the tests that every {@link BlockSource} must pass.
 * @param name the class under test; it begins the name of each test
 */
export function describeBlockSource(name: string, make: MakeSource, options: ConformanceOptions = {}): void {
  const { unit = 1, emptyDisks = true, runs = 200 } = options;
  const disks: [string, Uint8Array][] = [
    ['mixed', mixedDisk(Math.max(unit, 4096))],
    ['zero', new Uint8Array(Math.ceil(300_001 / unit) * unit)],
    ['full', new Uint8Array(Math.ceil(70_001 / unit) * unit).fill(0xa5)],
    ['tiny', new Uint8Array(unit).fill(7)],
    ...(emptyDisks ? [['empty', new Uint8Array(0)] satisfies [string, Uint8Array]] : []),
  ];

  describe.each(disks)(`${name} conforms to BlockSource, %s disk`, (_, disk) => {
    const open = async () => {
      const source = await make(disk);
      onTestFinished(() => source.close());
      return source;
    };
    const everyRange = (check: (offset: number, length: number) => Promise<void>) =>
      fc.assert(
        fc.asyncProperty(rangesOf(disk.length), ([offset, length]) => check(offset, length)),
        {
          numRuns: runs,
          examples: [[[0, disk.length]], [[disk.length, 0]], [[0, 0]]],
        },
      );

    test(`${name}.size is the size of the disk`, async () => {
      expect((await open()).size).toBe(disk.length);
    });

    test(`${name}.extents cover any range in order, without gap or overlap`, async () => {
      const source = await open();
      await everyRange(async (offset, length) => {
        let at = offset;
        for await (const extent of source.extents(offset, length)) {
          expect(extent.offset).toBe(at);
          expect(extent.length).toBeGreaterThan(0);
          expect(['data', 'zero', 'hole']).toContain(extent.kind);
          at += extent.length;
        }
        expect(at).toBe(offset + length);
      });
    });

    test(`${name}.extents are data wherever the disk is not zero`, async () => {
      for (const { offset, length, kind } of await all(await open(), 0, disk.length)) {
        if (kind !== 'data') expect(isZero(disk.subarray(offset, offset + length))).toBe(true);
      }
    });

    test(`${name}.extents of a part say the same as those of the whole`, async () => {
      const source = await open();
      const whole = await all(source, 0, disk.length);
      await everyRange(async (offset, length) => {
        expect(joined(await all(source, offset, length))).toEqual(joined(clipped(whole, offset, length)));
      });
    });

    test(`${name}.extents may be left before their end`, async () => {
      const source = await open();
      for await (const _extent of source.extents(0, disk.length)) break;
      expect(await all(source, 0, disk.length)).toEqual(await all(source, 0, disk.length));
    });

    test(`${name}.read gives the bytes of any range and touches none beside them`, async () => {
      const source = await open();
      await everyRange(async (offset, length) => {
        const around = new Uint8Array(length + 32).fill(0xee);
        await source.read(offset, around.subarray(16, 16 + length));
        expect(same(around.subarray(16, 16 + length), disk.subarray(offset, offset + length))).toBe(true);
        expect(around.subarray(0, 16).every((byte) => byte === 0xee)).toBe(true);
        expect(around.subarray(16 + length).every((byte) => byte === 0xee)).toBe(true);
      });
    });

    test(`${name}.read gives the right bytes when many calls overlap in time`, async () => {
      const source = await open();
      const ranges = fc.sample(rangesOf(disk.length), { numRuns: 64, seed: 1 });
      const parts = ranges.map(([, length]) => new Uint8Array(length).fill(0xee));
      await Promise.all(ranges.map(([offset], i) => source.read(offset, parts[i]!)));
      for (const [i, [offset, length]] of ranges.entries()) {
        expect(same(parts[i]!, disk.subarray(offset, offset + length))).toBe(true);
      }
    });

    test(`${name}.locate names pieces that hold the bytes of any range, where it has any`, async () => {
      const source = await open();
      await everyRange(async (offset, length) => {
        const pieces = await source.locate?.(offset, length);
        if (pieces === undefined) return;
        expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBe(length);
        const into = new Uint8Array(length).fill(0xee);
        new PieceReader(pieces).read(into);
        expect(same(into, disk.subarray(offset, offset + length))).toBe(true);
      });
      if (source.locate === undefined) return;
      for (const [offset, length] of readsOutside(disk.length))
        await expect(source.locate(offset, length)).rejects.toMatchObject({ code: 'USAGE' });
    });

    test(`${name}.read throws USAGE when the range leaves the disk`, async () => {
      const source = await open();
      for (const [offset, length] of readsOutside(disk.length)) {
        await expect(source.read(offset, new Uint8Array(length))).rejects.toMatchObject({ code: 'USAGE' });
      }
    });

    test(`${name}.extents throw USAGE when the range leaves the disk`, async () => {
      const source = await open();
      const walks = [
        ...readsOutside(disk.length),
        [0, disk.length + 1],
        [0, -1],
        [0, Number.NaN],
        [0, 2 ** 53],
      ];
      for (const [offset, length] of walks) {
        await expect(all(source, offset!, length!)).rejects.toMatchObject({ code: 'USAGE' });
      }
    });

    test(`${name}.close does nothing when it is called again`, async () => {
      const source = await make(disk);
      await source.close();
      await source.close();
    });
  });
}

/** Offset and length of ranges within a disk, its ends more often than chance would have them. */
function rangesOf(size: number): fc.Arbitrary<[number, number]> {
  const point = fc.oneof({ weight: 8, arbitrary: fc.nat(size) }, fc.constantFrom(0, size));
  return fc.tuple(point, point).map(([a, b]) => [Math.min(a, b), Math.abs(a - b)]);
}

function readsOutside(size: number): [number, number][] {
  return [
    [size, 1],
    [size + 1, 0],
    [0, size + 1],
    [-1, 1],
    [0.5, 0],
    [Number.NaN, 0],
    [Number.POSITIVE_INFINITY, 0],
    [Number.MAX_SAFE_INTEGER, 1],
    [2 ** 53, 0],
  ];
}

async function all(source: BlockSource, offset: number, length: number): Promise<Extent[]> {
  const extents: Extent[] = [];
  for await (const extent of source.extents(offset, length)) extents.push(extent);
  return extents;
}

/** The parts of `extents` within a range. */
function clipped(extents: readonly Extent[], offset: number, length: number): Extent[] {
  return extents.flatMap((extent) => {
    const from = Math.max(extent.offset, offset);
    const to = Math.min(extent.offset + extent.length, offset + length);
    return to > from ? [{ offset: from, length: to - from, kind: extent.kind }] : [];
  });
}

/** The same extents with neighbours of one kind as one, since where a source cuts is its own affair. */
function joined(extents: readonly Extent[]): Extent[] {
  const out: Extent[] = [];
  for (const { offset, length, kind } of extents) {
    const last = out.at(-1);
    if (last?.kind === kind) out[out.length - 1] = { ...last, length: last.length + length };
    else out.push({ offset, length, kind });
  }
  return out;
}

/** Equality by memcmp: the matcher of the test runner takes seconds for a megabyte. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
