import { expect, test } from 'vitest';
import { objectId } from '../../../objects/index.ts';
import { deltifyObjects, type PackItem } from '../../../store/workers/pack-jobs.ts';
import { noise } from '../../objects/noise.ts';

/** Bases of some bytes, and how often one was read. */
function countedBases(
  count: number,
  size: number,
): { readonly items: PackItem[]; readonly reads: () => number } {
  let reads = 0;
  const items = Array.from({ length: count }, (_, i) => {
    const data = noise(size, 100 + i);
    const stored = {
      kind: 'data' as const,
      where: 'memory',
      type: 'blob' as const,
      get data() {
        reads++;
        return data;
      },
    };
    return { id: objectId('blob', data), size, stored };
  });
  return { items, reads: () => reads };
}

/** Looks for the base of one object among all of them, twice. */
function deltifyTwice(items: readonly PackItem[]): void {
  const data = noise(1000, 1);
  const input = new SharedArrayBuffer(data.length);
  new Uint8Array(input).set(data);
  for (let round = 0; round < 2; round++)
    deltifyObjects({
      targets: [{ size: data.length, candidates: items, storedBytes: data.length, keep: false }],
      input,
      output: new SharedArrayBuffer(2 * data.length),
      level: 1,
    });
}

test('deltifyObjects reads bases of 64 KiB that it meets again once', () => {
  const { items, reads } = countedBases(30, 65536);
  deltifyTwice(items);
  expect(reads()).toBe(30);
});

test('deltifyObjects keeps few bases when each is large', () => {
  const { items, reads } = countedBases(12, 2 * 2 ** 20);
  deltifyTwice(items);
  expect(reads()).toBe(24);
});
