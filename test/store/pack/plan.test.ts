import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GEOMETRIC_FACTOR, rollUpCount } from '../../../store/pack/plan.ts';

const ascending = fc
  .array(fc.integer({ min: 1, max: 1_000_000 }), { maxLength: 30 })
  .map((counts) => counts.sort((a, b) => a - b));

test('rollUpCount leaves packs that are each a multiple of all that is smaller', () => {
  fc.assert(
    fc.property(fc.nat(100_000), ascending, (fresh, counts) => {
      const gathered = rollUpCount(fresh, counts);
      let below = fresh + counts.slice(0, gathered).reduce((sum, count) => sum + count, 0);
      for (const count of counts.slice(gathered)) {
        expect(count).toBeGreaterThanOrEqual(GEOMETRIC_FACTOR * below);
        below += count;
      }
    }),
  );
});

test('rollUpCount gathers no more than it must', () => {
  fc.assert(
    fc.property(fc.nat(100_000), ascending, (fresh, counts) => {
      const gathered = rollUpCount(fresh, counts);
      if (gathered === 0) return;
      const below = fresh + counts.slice(0, gathered - 1).reduce((sum, count) => sum + count, 0);
      expect(counts[gathered - 1]).toBeLessThan(GEOMETRIC_FACTOR * below);
    }),
  );
});

test('rollUpCount lets each object be copied a few times only when commits are small', () => {
  const commits = 4000;
  const perCommit = 10;
  let packs: number[] = [];
  let copied = 0;
  for (let i = 0; i < commits; i++) {
    const gathered = rollUpCount(perCommit, packs);
    const sum = packs.slice(0, gathered).reduce((total, count) => total + count, perCommit);
    copied += sum;
    packs = [sum, ...packs.slice(gathered)];
  }
  const objects = commits * perCommit;
  expect(copied).toBeLessThan(objects * GEOMETRIC_FACTOR * Math.log2(commits));
  expect(packs.length).toBeLessThanOrEqual(Math.ceil(Math.log(objects) / Math.log(GEOMETRIC_FACTOR)) + 1);
});
