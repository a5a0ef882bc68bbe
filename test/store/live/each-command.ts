import { expect } from 'vitest';
import type { LivePlace } from './place.ts';
import { atSteps, runsFrom } from './steps.ts';

export const RUNS = runsFrom(2, 4);

/** Makes commits that end at one command after the other, until one needs no such command. */
export async function atCommands(
  place: LivePlace,
  first: number,
  attempt: (step: number) => Promise<{ readonly commands: readonly string[] }>,
): Promise<void> {
  const commands = await atSteps(first, 5, async (step) => (await attempt(step)).commands);
  expect(commands).toContain('nbd-server-stop');
  expect(place.scratch()).toEqual([]);
}
