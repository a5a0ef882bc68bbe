import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { encodeOwner, thisProcess } from '../../../files/index.ts';
import { takePackLock } from '../../../store/pack/pack-lock.ts';
import { deadLock } from '../../files/dead.ts';
import { newStore, type TestStore } from '../new-store.ts';

const lockOf = ({ path }: TestStore) => join(path, 'imgstore', 'locks', 'pack.lock');

function hold(made: TestStore, content: string): void {
  mkdirSync(dirname(lockOf(made)), { recursive: true });
  writeFileSync(lockOf(made), content);
}

test('takePackLock says in the lock who has it, and leaves nothing when it is let go', async () => {
  const made = await newStore();
  const lock = await takePackLock(made.store);
  expect(readFileSync(lockOf(made), 'utf8')).toBe(encodeOwner(thisProcess()));
  await lock.release();
  expect(readdirSync(dirname(lockOf(made)))).toEqual([]);
});

test('takePackLock throws BUSY with the number of the process that has it, without waiting', async () => {
  const made = await newStore();
  const lock = await takePackLock(made.store);
  await expect(takePackLock(made.store)).rejects.toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining(`locked for 0 s by process ${process.pid} on ${hostname()}`),
    data: { pid: process.pid },
  });
  expect(existsSync(lockOf(made))).toBe(true);
  await lock.release();
});

test('takePackLock takes over the lock of a process that is gone', async () => {
  const made = await newStore();
  hold(made, deadLock());
  const lock = await takePackLock(made.store);
  expect(readFileSync(lockOf(made), 'utf8')).toBe(encodeOwner(thisProcess()));
  await expect(takePackLock(made.store)).rejects.toMatchObject({ code: 'BUSY' });
  await lock.release();
  expect(readdirSync(dirname(lockOf(made)))).toEqual([]);
});

test('takePackLock takes over the lock of a process that had its own number', async () => {
  const made = await newStore();
  hold(made, encodeOwner({ ...thisProcess(), started: '1' }));
  const lock = await takePackLock(made.store);
  await lock.release();
  expect(readdirSync(dirname(lockOf(made)))).toEqual([]);
});
