import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Slots } from '../../../nbd/client/slots.ts';

test('Slots let as many pieces of work go on as there are, first come first', async () => {
  const slots = new Slots(3);
  const started: number[] = [];
  let [now, most] = [0, 0];
  const work = async (i: number) => {
    await slots.acquire();
    started.push(i);
    most = Math.max(most, ++now);
    await turn();
    now--;
    slots.release();
  };
  await Promise.all(Array.from({ length: 10 }, (_, i) => work(i)));
  expect(started).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(most).toBe(3);
});
