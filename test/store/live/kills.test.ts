import { expect, test } from 'vitest';
import type { Machine } from './machine.ts';
import { LivePlace } from './place.ts';
import { type Moment, startProxy } from './proxy.ts';

const MOMENTS: readonly Moment[] = ['before', 'after'];
/** One moment of each command in `npm test`, both in `npm run test:faults`. */
const momentsOf = (step: number) => (process.env.IMGSTORE_LONG === '1' ? MOMENTS : [MOMENTS[step % 2]!]);

/** Makes commits that end at each command in turn, until one needs no such command. */
async function atEachCommand(
  place: LivePlace,
  attempt: (step: number, moment: Moment) => Promise<{ readonly commands: readonly string[] }>,
): Promise<void> {
  for (let step = 1; ; step++) {
    for (const moment of momentsOf(step)) {
      const { commands } = await attempt(step, moment);
      if (commands.length >= step) continue;
      expect(commands).toContain('nbd-server-stop');
      expect(place.scratch()).toEqual([]);
      return;
    }
  }
}

let pattern = 0;
async function writeSomething(machine: Machine): Promise<void> {
  pattern = (pattern % 250) + 1;
  await machine.io(0, `write -P ${pattern} ${(pattern % 30) * 128}k 8k`);
}

test('commitMachine is right after QEMU was killed at any command of the commit before', async () => {
  const place = await LivePlace.create();
  await atEachCommand(place, async (step, moment) => {
    const machine = await place.start();
    await place.commitExactly(machine);
    await writeSomething(machine);
    const path = place.made.file(`proxy-${step}-${moment}`);
    const proxy = await startProxy(path, machine.qmp, step, moment, () => machine.kill());
    await place
      .commit({ qmp: path })
      .catch((error: unknown) => expect(error).toMatchObject({ code: expect.stringMatching(/^(QMP|NBD)$/) }));
    expect(place.scratch(), `${step} ${moment}`).toEqual([]);
    await machine.kill();
    const again = await place.start();
    await writeSomething(again);
    await place.commitExactly(again);
    await again.quit();
    return proxy;
  });
});
