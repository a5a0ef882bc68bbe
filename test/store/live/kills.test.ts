import { expect, test } from 'vitest';
import { atCommands, RUNS } from './each-command.ts';
import { LivePlace } from './place.ts';
import { startProxy } from './proxy.ts';
import { writeSomething } from './steps.ts';

test.each(RUNS)(
  'commitMachine is right after QEMU was killed %s it did a command of the commit before, from %i on',
  async (moment, first) => {
    const place = await LivePlace.create();
    await atCommands(place, first, async (step) => {
      const machine = await place.start();
      await place.commitExactly(machine);
      await writeSomething(machine);
      const path = place.made.file(`proxy-${step}-${moment}`);
      const proxy = await startProxy(path, machine.qmp, step, moment, () => machine.kill());
      await place
        .commit({ qmp: path })
        .catch((error: unknown) =>
          expect(error).toMatchObject({ code: expect.stringMatching(/^(QMP|NBD)$/) }),
        );
      expect(place.scratch(), `${step} ${moment}`).toEqual([]);
      await machine.kill();
      const again = await place.start();
      await writeSomething(again);
      await place.commitExactly(again);
      await again.quit();
      return proxy;
    });
  },
);
