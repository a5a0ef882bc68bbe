import { expect, test } from 'vitest';
import { hashWindow, WINDOW } from '../../../pack/delta/base-index.ts';
import { applyDelta, DeltaBase, encodeDelta } from '../../../pack/index.ts';
import { mixed, noise } from '../../objects/noise.ts';
import { Counted } from './counted.ts';

/**
 * Looks at bytes of base and target that the encoder may take for each byte of both. At a byte of the target, at most 16 places of the base are
 * compared, each by 23 bytes forwards and 23 backwards and one that differs in each direction: 16 × 48 pairs. What a match makes longer is
 * passed over afterwards.
 */
const MOST_LOOKS = 16 * 48 * 2;

/** The sizes to compare: work that grows by more than the size does shows between them. */
const SMALL = 16 * 1024;
const LARGE = 4 * SMALL;

/** Looks that indexing and encoding take; the delta must be right too. */
function looks(base: Uint8Array, target: Uint8Array): number {
  const [countedBase, countedTarget] = [new Counted(base), new Counted(target)];
  const delta = encodeDelta(new DeltaBase(countedBase.bytes), countedTarget.bytes);
  expect(Buffer.compare(applyDelta(base, delta), target)).toBe(0);
  // The output is made by subarray, which is no look.
  expect(countedTarget.reads).toBeGreaterThan(0);
  return countedBase.reads + countedTarget.reads;
}

/** Bytes of one value, with another one so far apart. */
function broken(length: number, apart: number, value = 0x61): Buffer {
  const bytes = Buffer.alloc(length, 0x61);
  for (let at = apart; at < length; at += apart) bytes[at] = value + (at % 23);
  return bytes;
}

/** Different windows that all have one hash, `gap` bytes of noise between them. */
function colliding(length: number, seed: number, gap: number): Buffer {
  const bytes = noise(length, seed);
  let word = seed;
  const nextWord = () => {
    word = (Math.imul(word, 1_664_525) + 1_013_904_223) | 0;
    // The lowest bits of such a generator hardly change.
    return word ^ (word >>> 16);
  };
  for (let at = 0; at + WINDOW <= length; at += WINDOW + gap) {
    let [low, high] = [nextWord(), nextWord()];
    while (hashWindow(low, high) !== 0) [low, high] = [high, nextWord()];
    bytes.writeInt32LE(low, at);
    bytes.writeInt32LE(high, at + 4);
  }
  return bytes;
}

/** One window over and over, each time followed by other bytes, so that no match is long enough to be taken. */
function windowRepeated(length: number, apart: number, seed: number): Buffer {
  const bytes = noise(length, seed);
  for (let at = 0; at + WINDOW <= length; at += apart) bytes.write('ABCDEFGH', at, 'latin1');
  return bytes;
}

/** A binary de Bruijn sequence of order 9 over and over (Fredricksen, Kessler and Maiorana): every short sequence is everywhere. */
function deBruijn(length: number): Buffer {
  const order = 9;
  const word = new Uint8Array(order + 1);
  const sequence: number[] = [];
  const extend = (at: number, period: number): void => {
    if (at > order) {
      if (order % period === 0) sequence.push(...word.subarray(1, period + 1));
      return;
    }
    word[at] = word[at - period]!;
    extend(at + 1, period);
    if (word[at] === 0) {
      word[at] = 1;
      extend(at + 1, at);
    }
  };
  extend(1, 1);
  expect(sequence).toHaveLength(2 ** order);
  return Buffer.alloc(length, Buffer.from(sequence));
}

const reversed = (bytes: Buffer) => Buffer.from(bytes).reverse();

type Pair = readonly [base: Buffer, target: Buffer];
const PAIRS: readonly (readonly [string, (size: number) => Pair])[] = [
  ['both are of one value', (size) => [Buffer.alloc(size, 0x61), Buffer.alloc(size, 0x61)]],
  [
    'the base is of one value with breaks, the target without',
    (size) => [broken(size, 100), Buffer.alloc(size, 0x61)],
  ],
  [
    'the target is of one value with breaks, the base without',
    (size) => [Buffer.alloc(size, 0x61), broken(size, 25)],
  ],
  [
    'the runs of the target are too short to be copied',
    (size) => [Buffer.alloc(size, 0x61), broken(size, 22, 0x62)],
  ],
  [
    'both are of one value with breaks at different places',
    (size) => [broken(size, 1000, 0x62), broken(size, 999, 0x70)],
  ],
  [
    'breaks come at every 23rd and every 24th byte',
    (size) => [broken(size, 24, 0x62), broken(size, 23, 0x70)],
  ],
  [
    'one window repeats, and nothing around it',
    (size) => [windowRepeated(size, 16, 1), windowRepeated(size, 16, 2)],
  ],
  [
    'one window repeats at every place of the base and byte of the target',
    (size) => [windowRepeated(size, 8, 1), windowRepeated(size, 9, 2)],
  ],
  ['windows have one hash and are different', (size) => [colliding(size, 1, 0), colliding(size, 2, 0)]],
  ['windows have one hash, apart', (size) => [colliding(size, 1, 8), colliding(size, 2, 5)]],
  ['every sequence of 9 values is everywhere', (size) => [deBruijn(size), reversed(deBruijn(size))]],
  [
    'de Bruijn sequences have breaks',
    (size) => [
      deBruijn(size),
      Buffer.from(deBruijn(size)).map((value, at) => (at % 31 ? value : 7)) as Buffer,
    ],
  ],
  ['a period of 7 meets one of 8', (size) => [Buffer.alloc(size, 'abcdefg'), Buffer.alloc(size, 'abcdefgh')]],
  ['the target is the base', (size) => [mixed(size, 1), mixed(size, 1)]],
  ['they are noise', (size) => [noise(size, 1), noise(size, 2)]],
];

test.each(PAIRS)('encodeDelta looks at each byte a bounded number of times when %s', (_, pair) => {
  const small = looks(...pair(SMALL));
  const large = looks(...pair(LARGE));
  expect(small).toBeLessThanOrEqual(MOST_LOOKS * 2 * SMALL);
  expect(large).toBeLessThanOrEqual(MOST_LOOKS * 2 * LARGE);
  // Four times the bytes, four times the work; and some for what is not yet full in the index of the small one.
  expect(large / small).toBeLessThan(6);
});
