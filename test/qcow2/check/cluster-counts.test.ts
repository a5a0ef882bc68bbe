import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClusterCounts, PAGE_CLUSTERS } from '../../../qcow2/check/cluster-counts.ts';

const counts = (maxBytes = 2 ** 20) => new ClusterCounts(maxBytes, () => new Error('full'));

describe('counts of clusters', () => {
  it('are what a map would hold, whatever their size and order', () => {
    const step = fc.record({
      cluster: fc.oneof(fc.nat(3000), fc.nat(2 ** 31 - 1)),
      amount: fc.constantFrom(1, 2, 200, 60_000, 2 ** 33),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ours = counts(2 ** 24);
        const model = new Map<number, number>();
        for (const { cluster, amount } of steps) {
          ours.add(cluster, amount);
          model.set(cluster, (model.get(cluster) ?? 0) + amount);
        }
        for (const [cluster, count] of model) expect(ours.get(cluster)).toBe(count);
        expect([...ours.clusters()]).toEqual([...model.keys()].sort((a, b) => a - b));
      }),
    );
  });

  it('make no page for a zero, and forget a count that is set to one', () => {
    const ours = counts();
    ours.set(5, 0);
    expect(ours.hasPage(0)).toBe(false);
    ours.set(5, 7);
    ours.set(5, 0);
    expect([...ours.clusters()]).toEqual([]);
    expect(ours.get(5)).toBe(0);
  });

  it('stop at their limit, also when counts grow wide', () => {
    const wide = counts(3000);
    wide.add(0, 255);
    wide.add(0, 1);
    expect(() => wide.add(0, 2 ** 20)).toThrow('full');
    const many = counts(10_000);
    expect(() => {
      for (let i = 0; i < 100; i++) many.add(i * PAGE_CLUSTERS, 1);
    }).toThrow('full');
  });
});
