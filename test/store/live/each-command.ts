import { expect } from 'vitest';
import type { Machine } from './machine.ts';
import type { LivePlace } from './place.ts';
import type { Moment } from './proxy.ts';

const IS_LONG = process.env.IMGSTORE_LONG === '1';
/** Where each run begins, and how far it goes at once: in `npm test` some commands, with `IMGSTORE_LONG=1` both moments of each. */
export const RUNS: readonly (readonly [Moment, number])[] = IS_LONG
  ? [
      ['before', 1],
      ['after', 1],
    ]
  : [
      ['before', 2],
      ['after', 4],
    ];
const STRIDE = IS_LONG ? 1 : 5;

/** Makes commits that end at one command after the other, until one needs no such command. */
export async function atCommands(
  place: LivePlace,
  first: number,
  attempt: (step: number) => Promise<{ readonly commands: readonly string[] }>,
): Promise<void> {
  for (let step = first; ; step += STRIDE) {
    const { commands } = await attempt(step);
    if (commands.length >= step) continue;
    expect(commands).toContain('nbd-server-stop');
    expect(place.scratch()).toEqual([]);
    return;
  }
}

let pattern = 0;
/** Writes two clusters somewhere else each time. */
export async function writeSomething(machine: Machine): Promise<void> {
  pattern = (pattern % 250) + 1;
  await machine.io(0, `write -P ${pattern} ${(pattern % 30) * 128}k 8k`);
}
