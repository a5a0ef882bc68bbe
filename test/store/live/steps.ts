import type { Moment } from './proxy.ts';

const IS_LONG = process.env.IMGSTORE_LONG === '1';

/** Where each run begins, at steps of a commit at which something happens: in `npm test` at some, with `IMGSTORE_LONG=1` at both moments of each. */
export function runsFrom(before: number, after: number): readonly (readonly [Moment, number])[] {
  return [
    ['before', IS_LONG ? 1 : before],
    ['after', IS_LONG ? 1 : after],
  ];
}

/**
 * Makes commits that end at one step after the other, until one needs no such step. Returns what that did.
 * @param stride of steps, in `npm test`
 * @param attempt returns what was done, in order
 */
export async function atSteps(
  first: number,
  stride: number,
  attempt: (step: number) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  for (let step = first; ; step += IS_LONG ? 1 : stride) {
    const done = await attempt(step);
    if (done.length < step) return done;
  }
}

let pattern = 0;
/** Writes two clusters to the first disk, somewhere else each time. */
export async function writeSomething(machine: {
  io(disk: number, command: string): Promise<unknown>;
}): Promise<void> {
  pattern = (pattern % 250) + 1;
  await machine.io(0, `write -P ${pattern} ${(pattern % 30) * 128}k 8k`);
}
