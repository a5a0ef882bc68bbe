import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { sharedRgw, startRgw } from './rgw.ts';

const owners: ChildProcess[] = [];
afterEach(() => {
  for (const owner of owners.splice(0)) owner.kill('SIGKILL');
});

/** A process to which a server can belong, and the server's folder. */
function newOwner(): { owner: ChildProcess; folder: string } {
  const owner = spawn('sleep', ['600'], { stdio: 'ignore' });
  owners.push(owner);
  return { owner, folder: join(tmpdir(), `imgstore-rgw-${userInfo().uid}-${owner.pid}`) };
}

const answers = (endpoint: string) =>
  fetch(endpoint).then(
    (answer) => answer.ok,
    () => false,
  );

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(50);
}

test('sharedRgw is one for all who ask', async () => {
  const all = await Promise.all([sharedRgw(), sharedRgw(), sharedRgw()]);
  expect(new Set(all.map(({ endpoint }) => endpoint)).size).toBe(1);
  expect(await all[0]!.newBucket()).not.toBe(await all[1]!.newBucket());
});

test('startRgw makes a server that ends with its owner, though that be killed', async () => {
  const { owner, folder } = newOwner();
  const { endpoint } = await startRgw(owner.pid!);
  expect(await answers(endpoint)).toBe(true);
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  await until(() => !existsSync(folder));
  expect(await answers(endpoint)).toBe(false);
});

test('startRgw fails, with what failed, when the server cannot be started', async () => {
  const { owner, folder } = newOwner();
  const path = process.env.PATH;
  process.env.PATH = '/nonexistent';
  try {
    const message = /the Ceph Object Gateway for tests does not start: spawn monmaptool ENOENT/;
    await expect(startRgw(owner.pid!)).rejects.toThrow(message);
    await expect(startRgw(owner.pid!)).rejects.toThrow(message);
  } finally {
    process.env.PATH = path;
  }
  owner.kill('SIGKILL');
  await until(() => !existsSync(folder));
});
