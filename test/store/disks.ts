import fc from 'fast-check';
import { noise } from '../qcow2/qemu.ts';
import { SMALL } from './new-store.ts';

/** A disk of which cluster i is zeros for 0 and the noise of seed `plan[i]` otherwise; `cut` bytes of the last are missing. */
export function diskOf(plan: readonly number[], clusterSize = SMALL, cut = 0): Buffer {
  const bytes = Buffer.alloc(plan.length * clusterSize);
  plan.forEach((seed, i) => {
    if (seed !== 0) noise(clusterSize, seed).copy(bytes, i * clusterSize);
  });
  return bytes.subarray(0, bytes.length - cut);
}

/** Plans for {@link diskOf}: mostly runs, few seeds, so that clusters come more than once. */
export function plans(most = 40): fc.Arbitrary<number[]> {
  const run = fc.tuple(fc.constantFrom(0, 0, 1, 2, 3, 4, 5), fc.integer({ min: 1, max: 6 }));
  return fc
    .array(run, { minLength: 1, maxLength: Math.ceil(most / 4) })
    .map((runs) => runs.flatMap(([seed, times]) => Array<number>(times).fill(seed)).slice(0, most));
}

/** What {@link diskOf} makes a disk of. Properties take these and not the bytes, which nobody could read in a failure. */
export type DiskPlan = readonly [plan: number[], cut: number];

/** Small disks of which some end within a cluster. */
export function diskPlans(most: number, ...cuts: number[]): fc.Arbitrary<DiskPlan> {
  return fc.tuple(plans(most), fc.constantFrom(0, ...cuts));
}

/** The disk of a plan. */
export function planned([plan, cut]: DiskPlan): Buffer {
  return diskOf(plan, SMALL, cut);
}
