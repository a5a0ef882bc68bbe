import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refcountLayout } from '../../../qcow2/meta/refcount.ts';

describe('refcountLayout', () => {
  it('counts every cluster, itself too, with no block or table cluster to spare', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000_000 }),
        fc.integer({ min: 9, max: 21 }),
        (clusters, bits) => {
          const size = 2 ** bits;
          const { blocks, tableClusters, totalClusters } = refcountLayout(clusters, size);
          expect(totalClusters).toBe(clusters + blocks + tableClusters);
          expect(blocks * (size / 2)).toBeGreaterThanOrEqual(totalClusters);
          expect((blocks - 1) * (size / 2)).toBeLessThan(totalClusters);
          expect(tableClusters).toBe(Math.ceil((blocks * 8) / size));
        },
      ),
    );
  });
});
