import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { noise } from '../../qcow2/qemu.ts';
import { bootSector, countedTo } from './guest.ts';
import type { RunningOutcome } from './outcome.ts';

const MIB = 2 ** 20;

/** How far the guest was at a version. */
export interface CountedOutcome extends RunningOutcome {
  readonly count: number;
}

/** A commit of two disks, which fails unless both are of one moment. */
export type CountedCommit = () => Promise<CountedOutcome>;

/** The bytes of the first or the second disk of the guest that counts: 4 MiB with 2 MiB of noise. */
export function countingDisk(i: number): Buffer {
  const bytes = Buffer.alloc(4 * MIB);
  noise(2 * MIB, i + 1).copy(bytes, 2 * MIB);
  if (i === 0) bootSector().copy(bytes);
  return bytes;
}

/** Looks how far the guest was. @throws Error when both disks are not of one moment */
export async function withCount(
  place: { stored(commit: string, disk: number): Promise<Buffer> },
  outcome: RunningOutcome,
): Promise<CountedOutcome> {
  const { commit } = outcome;
  return { ...outcome, count: countedTo(await place.stored(commit, 0), await place.stored(commit, 1)) };
}

/** Waits until the guest has written. */
export async function untilCounting(commit: CountedCommit): Promise<void> {
  for (let count = 0; count === 0; { count } = await commit()) await sleep(200);
}

/**
 * Makes versions in a row, and fails unless each is of one moment, and none before the one before.
 * @param before how far the guest was
 * @param most bytes that both disks of a version are read for
 * @returns how far it is at the end
 */
export async function expectMoments(
  commit: CountedCommit,
  times: number,
  before = 0,
  most = Number.POSITIVE_INFINITY,
): Promise<number> {
  let last = before;
  for (let i = 0; i < times; i++) {
    const { count, readBytes, notices } = await commit();
    expect(notices).toEqual([]);
    expect(readBytes[0]! + readBytes[1]!).toBeLessThan(most);
    expect(count).toBeGreaterThanOrEqual(last);
    last = count;
  }
  return last;
}
