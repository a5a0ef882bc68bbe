import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Coverage } from '../../../nbd/client/coverage.ts';

test('Coverage is complete when every byte came once, in whatever order, and refuses what came before', () => {
  const range = fc.tuple(fc.nat(40), fc.nat(40)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
  fc.assert(
    fc.property(fc.array(range, { maxLength: 30 }), (ranges) => {
      const coverage = new Coverage(40);
      const seen = new Set<number>();
      for (const [start, end] of ranges) {
        const bytes = Array.from({ length: end - start }, (_, i) => start + i);
        if (bytes.length === 0 || bytes.some((at) => seen.has(at))) {
          expect(() => coverage.add(start, end)).toThrow();
        } else {
          coverage.add(start, end);
          for (const at of bytes) seen.add(at);
        }
        expect(coverage.isComplete).toBe(seen.size === 40);
      }
    }),
  );
});

test('Coverage refuses what leaves its range, and a reply in too many pieces', () => {
  const coverage = new Coverage(10_000);
  for (const [start, end] of [
    [-1, 1],
    [9999, 10_001],
    [5, 5],
  ] as const) {
    expect(() => coverage.add(start, end)).toThrow('outside');
  }
  expect(() => {
    for (let at = 0; at < 10_000; at += 2) coverage.add(at, at + 1);
  }).toThrow('too many pieces');
});
