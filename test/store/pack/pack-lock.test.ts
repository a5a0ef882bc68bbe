import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { takePackLock } from '../../../store/pack/pack-lock.ts';
import { newStore, type TestStore } from '../new-store.ts';

const lockOf = ({ path }: TestStore) => join(path, 'imgstore', 'locks', 'pack.lock');

function hold(made: TestStore, content: string): void {
  mkdirSync(dirname(lockOf(made)), { recursive: true });
  writeFileSync(lockOf(made), content);
}

/** The number of a process that has ended. */
function gonePid(): number {
  return spawnSync(process.execPath, ['-e', '']).pid;
}

test('takePackLock says in the lock who has it, and leaves nothing when it is let go', async () => {
  const made = await newStore();
  const lock = await takePackLock(made.store);
  expect(readFileSync(lockOf(made), 'utf8')).toBe(`${process.pid} ${hostname()}\n`);
  await lock.release();
  expect(readdirSync(dirname(lockOf(made)))).toEqual([]);
});

test('takePackLock throws BUSY with the number of the process that has it', async () => {
  const made = await newStore();
  const lock = await takePackLock(made.store);
  await expect(takePackLock(made.store)).rejects.toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining(`process ${process.pid} on ${hostname()} packs this store`),
    data: { pid: process.pid },
  });
  expect(existsSync(lockOf(made))).toBe(true);
  await lock.release();
});

test('takePackLock takes over the lock of a process that is gone', async () => {
  const made = await newStore();
  hold(made, `${gonePid()} ${hostname()}\n`);
  const lock = await takePackLock(made.store);
  expect(readFileSync(lockOf(made), 'utf8')).toBe(`${process.pid} ${hostname()}\n`);
  await lock.release();
  expect(readdirSync(dirname(lockOf(made)))).toEqual([]);
});

test('takePackLock takes over the lock of a process that had its own number', async () => {
  const made = await newStore();
  hold(made, `${process.pid} ${hostname()}\n`);
  const lock = await takePackLock(made.store);
  await expect(takePackLock(made.store)).rejects.toMatchObject({ code: 'BUSY' });
  await lock.release();
  expect(readdirSync(dirname(lockOf(made)))).toEqual([]);
});

test.each([
  ['of another machine', () => `${gonePid()} elsewhere\n`],
  ['that says nothing', () => ''],
  ['that says something else', () => 'mine'],
])('takePackLock throws BUSY for a lock %s', async (_, content) => {
  const made = await newStore();
  const held = content();
  hold(made, held);
  await expect(takePackLock(made.store)).rejects.toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining(lockOf(made)),
  });
  expect(readFileSync(lockOf(made), 'utf8')).toBe(held);
});
