import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DeltaOutput } from '../../../pack/delta/output.ts';
import { applyDelta, DeltaBase, deltaSizes, encodeDelta } from '../../../pack/index.ts';
import { mixed, noise } from '../../objects/noise.ts';
import { deltaOf, encodeDelta as encodeSteps } from './encode-delta.ts';

const KIB = 1024;
const MIB = 2 ** 20;

/** The length of a delta that inserts all of a target: two sizes, the bytes, and one byte for each 127 of them. */
function longestDelta(base: number, target: number): number {
  const digits = (size: number) => Math.max(1, Math.ceil(Math.log2(size + 1) / 7));
  return digits(base) + digits(target) + target + Math.ceil(target / 127);
}

/** Encodes and expects that the delta gives the target and is no longer than one that inserts everything. Nothing has no delta. */
function encoded(base: Uint8Array, target: Uint8Array): Uint8Array {
  if (target.length === 0) {
    expect(() => encodeDelta(new DeltaBase(base), target)).toThrow(RangeError);
    return new Uint8Array();
  }
  const before = [Buffer.from(base), Buffer.from(target)] as const;
  const delta = encodeDelta(new DeltaBase(base), target);
  expect(deltaSizes(delta)).toMatchObject({ base: base.length, result: target.length });
  expect(Buffer.compare(applyDelta(base, delta), target)).toBe(0);
  // git refuses less (delta.h, DELTA_SIZE_MIN).
  expect(delta.length).toBeGreaterThanOrEqual(4);
  expect(delta.length).toBeLessThanOrEqual(longestDelta(base.length, target.length));
  expect(before[0].equals(base) && before[1].equals(target)).toBe(true);
  return delta;
}

/** The steps of a delta, read by the format alone. */
function steps(delta: Uint8Array): { copies: number; copied: number; inserted: number } {
  const found = { copies: 0, copied: 0, inserted: 0 };
  for (let { at } = deltaSizes(delta); at < delta.length; ) {
    const code = delta[at++]!;
    if (code < 0x80) {
      found.inserted += code;
      at += code;
      continue;
    }
    let size = 0;
    for (let bit = 0; bit < 4; bit++) if (code & (1 << bit)) at++;
    for (let bit = 0; bit < 3; bit++) if (code & (0x10 << bit)) size += delta[at++]! << (8 * bit);
    found.copies++;
    found.copied += size === 0 ? 0x10000 : size;
  }
  return found;
}

const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.tuple(fc.nat(3000), fc.nat(9)).map(([length, seed]) => noise(length, seed)),
  fc.tuple(fc.nat(3000), fc.nat(9)).map(([length, seed]) => mixed(length, seed)),
  // Few values, so that short sequences meet again and again.
  fc.array(fc.nat(1), { maxLength: 2000 }).map((values) => Buffer.from(values)),
);

/** A period of 1 to 20 bytes over and over, with other bytes here and there. */
const periodic = fc
  .record({
    period: fc.uint8Array({ minLength: 1, maxLength: 20 }),
    length: fc.nat(4000),
    breaks: fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { maxLength: 8 }),
  })
  .map(({ period, length, breaks }) => {
    const bytes = Buffer.alloc(length, Buffer.from(period));
    for (const [at, value] of breaks) if (at < length) bytes[at] = value;
    return bytes;
  });

const anyBase = fc.oneof(anyBytes, periodic);

/** A target made of pieces of the base, in any order, and of other bytes between them. */
const related = anyBase.chain((base) =>
  fc
    .array(
      fc.oneof(
        fc
          .tuple(fc.nat(base.length), fc.nat(base.length))
          .map(([a, b]) => base.subarray(Math.min(a, b), Math.max(a, b))),
        fc.uint8Array({ maxLength: 60 }),
        fc.tuple(fc.nat(400), fc.nat(5)).map(([length, value]) => Buffer.alloc(length, value)),
      ),
      { maxLength: 10 },
    )
    .map((pieces) => [base, Buffer.concat(pieces)] as const),
);

describe('applyDelta makes the target of encodeDelta', () => {
  test('when base and target have nothing to do with each other', () => {
    fc.assert(
      fc.property(anyBase, anyBase, (base, target) => {
        encoded(base, target);
      }),
      { numRuns: 300 },
    );
  });

  test('when the target is made of pieces of the base', () => {
    fc.assert(
      fc.property(related, ([base, target]) => {
        encoded(base, target);
      }),
      { numRuns: 500 },
    );
  });

  test('when the target is the base', () => {
    fc.assert(
      fc.property(anyBase, (bytes) => {
        encoded(bytes, bytes);
      }),
      { numRuns: 300 },
    );
    for (let length = 24; length < 3000; length += 7)
      expect(steps(encoded(noise(length, 1), noise(length, 1)))).toEqual({
        copies: 1,
        copied: length,
        inserted: 0,
      });
  });

  test('when a run has any period and phase', () => {
    for (let period = 1; period <= 20; period++) {
      const unit = noise(period, period);
      const base = Buffer.alloc(2000, unit);
      for (const from of [0, 1, period >> 1, period - 1])
        for (const length of [7, 8, 23, 24, 25, 500, 1999 - from]) {
          encoded(base, base.subarray(from, from + length));
          encoded(base.subarray(from, from + length), base);
          encoded(base, Buffer.concat([base.subarray(from, from + length), noise(30, length), base]));
        }
    }
  });

  test('when bytes were put in or taken out anywhere', () => {
    const base = mixed(6000, 4);
    for (const shift of [1, 2, 3, 7, 8, 9, 31, 100]) {
      for (const at of [0, 1, 3000, 5999]) {
        encoded(base, Buffer.concat([base.subarray(0, at), noise(shift, at), base.subarray(at)]));
        encoded(base, Buffer.concat([base.subarray(0, at), base.subarray(at + shift)]));
      }
    }
  });

  test('when pieces of two bases take turns', () => {
    const [one, other] = [noise(8000, 1), noise(8000, 2)];
    for (const size of [5, 8, 15, 16, 23, 24, 25, 40, 127, 128]) {
      const pieces: Buffer[] = [];
      for (let at = 0; at < 8000; at += size)
        pieces.push((at / size) % 2 ? other.subarray(at, at + size) : one.subarray(at, at + size));
      encoded(one, Buffer.concat(pieces));
      encoded(one, Buffer.concat(pieces.reverse()));
    }
  });

  const short = Array.from({ length: 26 }, (_, length) => length);
  test('when either is shorter than what is looked up', () => {
    const bytes = Buffer.alloc(26, 'abc');
    for (const base of short)
      for (const target of short) encoded(bytes.subarray(0, base), bytes.subarray(0, target));
    expect(encoded(Buffer.alloc(0), bytes)).toHaveLength(2 + 1 + 26);
  });

  const SIZES = [
    0xfffe,
    0xffff,
    0x10000,
    0x10001,
    0x1ffff,
    0x20000,
    0x20001,
    2 * MIB - 1,
    2 * MIB,
    2 * MIB + 1,
  ];
  test.each(SIZES)('when they have %i bytes', (size) => {
    const base = noise(size, 1);
    const [copies, rest] = [Math.ceil(size / 0x10000), size % 0x10000];
    // What is left behind whole copies may be too short to be worth one, and is then one of a few bytes all the same.
    expect(steps(encoded(base, base))).toEqual({ copies, copied: size, inserted: 0 });
    expect(encoded(base, base).length).toBeLessThanOrEqual(8 + copies * 7);
    const changed = Buffer.from(base);
    changed[size >> 1]! ^= 1;
    changed[size - 1]! ^= 1;
    expect(steps(encoded(base, changed)).inserted).toBeLessThan(60);
    const zeros = Buffer.alloc(size);
    expect(steps(encoded(zeros, zeros))).toEqual({ copies, copied: size, inserted: 0 });
    expect(steps(encoded(zeros, base)).inserted).toBe(size);
    encoded(base, zeros);
    encoded(base.subarray(rest), base);
    encoded(base, base.subarray(rest));
  });

  test('when copies begin at every length that an offset can have', () => {
    const base = Buffer.alloc(17 * MIB);
    // Bytes of the offset that are zero are left out, in any place.
    const offsets = [
      0, 0xff, 0x100, 0xff00, 0x10000, 0x10100, 0x800000, 0xff0000, 0xffffff, 0x1000000, 0x1000001, 0x1010000,
      0x10fff00,
    ];
    for (const offset of offsets) noise(500, offset).copy(base, offset);
    const index = new DeltaBase(base);
    for (const offset of offsets) {
      const target = base.subarray(offset, offset + 200);
      const delta = encodeDelta(index, target);
      expect(Buffer.compare(applyDelta(base, delta), target)).toBe(0);
      expect(steps(delta)).toEqual({ copies: 1, copied: 200, inserted: 0 });
      expect(delta).toEqual(deltaOf(base, [{ copy: offset, length: 200 }]));
    }
    const target = Buffer.concat(offsets.map((offset) => base.subarray(offset, offset + 0x10001)));
    const delta = encodeDelta(index, target);
    expect(Buffer.compare(applyDelta(base, delta), target)).toBe(0);
    expect(steps(delta).inserted).toBe(0);
  });
});

test('DeltaOutput writes copies as git does, up to the largest offset', () => {
  const offsets = fc.oneof(
    fc.nat(2 ** 31 - 1),
    fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    fc.constantFrom(2 ** 32 - 1, 2 ** 31, 2 ** 24),
  );
  fc.assert(
    fc.property(offsets, fc.integer({ min: 1, max: 0x10000 }), (offset, length) => {
      const output = new DeltaOutput(2 ** 32, Buffer.alloc(length));
      output.copy(offset, length);
      expect(output.bytes()).toEqual(encodeSteps(2 ** 32, length, [{ copy: offset, length }]));
    }),
    { examples: [0xff, 0x100, 0xffff, 0x10000].map((length) => [0x01020304, length]) },
  );
});

test('DeltaOutput writes sizes of any length', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (base) => {
      const output = new DeltaOutput(base, Buffer.of(1));
      expect(deltaSizes(output.bytes())).toMatchObject({ base, result: 1, at: output.bytes().length });
    }),
    { examples: [[0], [127], [128], [2 ** 31], [2 ** 32], [2 ** 53 - 1]] },
  );
});

test('encodeDelta throws RangeError when the target is empty, as git reads no delta of it', () => {
  for (const base of [Buffer.alloc(0), Buffer.of(1), Buffer.alloc(2 ** 21)])
    expect(() => encodeDelta(new DeltaBase(base), Buffer.alloc(0))).toThrow(RangeError);
});

test('encodeDelta encodes against one base again and again', () => {
  const base = mixed(20_000, 1);
  const index = new DeltaBase(base);
  for (let i = 0; i < 20; i++) {
    const target = Buffer.from(base);
    noise(50, i).copy(target, i * 900);
    const delta = encodeDelta(index, target);
    expect(Buffer.compare(delta, encodeDelta(new DeltaBase(base), target))).toBe(0);
    expect(Buffer.compare(applyDelta(base, delta), target)).toBe(0);
  }
});

test('encodeDelta takes views into larger buffers', () => {
  const around = mixed(9000, 3);
  const base = around.subarray(1001, 6001);
  encoded(base, around.subarray(1500, 7003));
});

test('encodeDelta finds what is the same when it has moved by any number of bytes', () => {
  const base = noise(64 * KIB, 1);
  for (let shift = 1; shift <= 40; shift++) {
    const { inserted } = steps(encoded(base, Buffer.concat([noise(shift, 99), base])));
    expect(inserted).toBeLessThanOrEqual(shift + 24);
    expect(steps(encoded(base, base.subarray(shift))).inserted).toBeLessThan(24);
  }
});

test('encodeDelta copies what is the same on both sides of each change', () => {
  const base = noise(64 * KIB, 5);
  const target = Buffer.from(base);
  for (let at = 500; at < target.length; at += 1000) target[at]! ^= 0xff;
  const { copies, inserted } = steps(encoded(base, target));
  // One byte each, as copies are extended backwards to the change.
  expect(inserted).toBe(66);
  expect(copies).toBe(67);
});

test('encodeDelta takes few bytes for a target of one value', () => {
  for (const value of [0, 0x41, 0xff]) {
    const delta = encoded(Buffer.alloc(64 * KIB, value), Buffer.alloc(64 * KIB, value));
    expect(delta.length).toBeLessThanOrEqual(6 + 7);
  }
});

/** Changes of 65 536 bytes of a disk of Debian take about these shares; a delta that misses them is not worth its base. */
test.each([
  ['a few bytes differ', (cluster: Buffer) => noise(8, 1).copy(cluster, 30_000), 100],
  ['4 KiB differ', (cluster: Buffer) => noise(4096, 1).copy(cluster, 8192), 4096 + 200],
])('encodeDelta is short when %s', (_, change, most) => {
  const base = mixed(64 * KIB, 7);
  const target = Buffer.from(base);
  change(target);
  expect(encoded(base, target).length).toBeLessThan(most);
});
