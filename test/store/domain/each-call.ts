import { expect } from 'vitest';
import { atSteps, runsFrom } from '../live/steps.ts';

export const RUNS = runsFrom(5, 6);

/** Makes commits that end at one call of virsh after the other, until one needs no such call. */
export async function atCalls(
  first: number,
  attempt: (step: number) => Promise<readonly string[]>,
): Promise<void> {
  expect(await atSteps(first, 4, attempt)).toContain('backup-begin');
}
