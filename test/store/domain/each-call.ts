import { expect } from 'vitest';
import type { Moment } from '../live/proxy.ts';
import type { DomainPlace } from './place.ts';

const IS_LONG = process.env.IMGSTORE_LONG === '1';
/** Where each run begins, and how far it goes at once: in `npm test` some calls of virsh, with `IMGSTORE_LONG=1` both moments of each. */
export const RUNS: readonly (readonly [Moment, number])[] = IS_LONG
  ? [
      ['before', 1],
      ['after', 1],
    ]
  : [
      ['before', 5],
      ['after', 6],
    ];
const STRIDE = IS_LONG ? 1 : 4;

/** Makes commits that end at one call of virsh after the other, until one needs no such call. */
export async function atCalls(
  first: number,
  attempt: (step: number) => Promise<readonly string[]>,
): Promise<void> {
  for (let step = first; ; step += STRIDE) {
    const commands = await attempt(step);
    if (commands.length >= step) continue;
    expect(commands).toContain('backup-begin');
    return;
  }
}

let pattern = 0;
/** Writes two clusters somewhere else each time. */
export async function writeSomething(place: DomainPlace): Promise<void> {
  pattern = (pattern % 250) + 1;
  await place.io(0, `write -P ${pattern} ${(pattern % 30) * 128}k 8k`);
}
