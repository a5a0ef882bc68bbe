import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { oneLine, sharedWorkplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';

const place = sharedWorkplace(async (made) => {
  await made.ok('init');
  await writeDisk(made, 'web.raw', 1, 2);
  await made.ok('commit', 'web.raw');
});

/** The built module: a process of its own cannot load the sources. */
const FILES = new URL('../../dist/files/index.js', import.meta.url).href;

const HOLDER = `
  import { LockFile, nameTask } from ${JSON.stringify(FILES)};
  nameTask('imgstore test');
  const lock = await LockFile.take('test', process.argv[1]);
  process.stdout.write('held');
  process.stdin.on('end', () => lock.release()).resume();`;

/** Another process that holds the lock of a file of the store, until it is told to let go. */
async function hold(name: string): Promise<{ readonly pid: number; readonly letGo: () => void }> {
  const path = place().path('.imgstore', name);
  mkdirSync(dirname(path), { recursive: true });
  const holder = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, path]);
  onTestFinished(() => {
    holder.kill('SIGKILL');
  });
  await once(holder.stdout, 'data');
  return { pid: holder.pid!, letGo: () => holder.stdin.end() };
}

/** Verbs by the lock that each needs. */
const NEEDS = [
  ['refs/tags/held', ['tag', '-f', 'held', 'web']],
  ['HEAD', ['commit', 'web.raw', '-b', 'other', '--allow-empty']],
  ['imgstore/locks/pack', ['pack']],
] as const;

test.each(NEEDS)('--lock-timeout waits for the process that has %s', async (name, verb) => {
  await place().ok('tag', '-f', 'held', 'web');
  await place().ok('tag', '-f', 'elsewhere', 'web');
  const { letGo } = await hold(name);
  const running = place().start([...verb, '--lock-timeout', '600']);
  // Longer than any lock is waited for by default.
  await sleep(1500);
  expect(running.child.exitCode).toBe(null);
  letGo();
  expect(await running.finished).toMatchObject({ status: 0, stderr: '' });
});

test.each([
  ['refs/tags/held', ['tag', '-f', 'held', 'web']],
  ['imgstore/locks/pack', ['pack']],
])('--lock-timeout 0 fails at once with 4 and says who has %s', async (name, verb) => {
  await place().ok('tag', '-f', 'held', 'web');
  const { pid } = await hold(name);
  const outcome = await place().run('--lock-timeout', '0', ...verb);
  expect(outcome.status).toBe(4);
  expect(oneLine(outcome)).toMatch(
    new RegExp(
      `${name}: locked for \\d+ s by process ${pid} on ${hostname()} \\(imgstore test\\): try again, or wait with --lock-timeout; if it is not running, remove .*\\.lock$`,
    ),
  );
});

test.each(['-1', 'forever'])('--lock-timeout %s waits until a signal comes', async (seconds) => {
  await place().ok('tag', '-f', 'held', 'web');
  await hold('refs/tags/held');
  const running = place().start(['tag', '-f', 'held', 'web', '--lock-timeout', seconds]);
  await sleep(1500);
  expect(running.child.exitCode).toBe(null);
  running.child.kill('SIGINT');
  const outcome = await running.finished;
  expect(outcome.status).toBe(130);
  expect(oneLine(outcome)).toMatch(/refs\/tags\/held: interrupted while waiting for its lock$/);
  expect(existsSync(place().path('.imgstore/refs/tags/held.lock'))).toBe(true);
});

test('imgstore.lockTimeout is the default of --lock-timeout, and must be a time', async () => {
  await place().ok('tag', '-f', 'held', 'web');
  place().git('config', 'imgstore.lockTimeout', 'forever');
  onTestFinished(() => {
    place().git('config', '--unset', 'imgstore.lockTimeout');
  });
  const { letGo } = await hold('refs/tags/held');
  const running = place().start(['tag', '-f', 'held', 'web']);
  await sleep(1500);
  expect((await place().run('tag', '-f', 'held', 'web', '--lock-timeout', '0.1')).status).toBe(4);
  letGo();
  expect((await running.finished).status).toBe(0);
  place().git('config', 'imgstore.lockTimeout', 'soon');
  expect(oneLine(await place().run('images'))).toMatch(/lockTimeout = soon: must be seconds, -1 or forever/);
});

test.each(['', 'soon', '-2', '1e3'])('--lock-timeout %j is an error of usage', async (text) => {
  const outcome = await place().run(`--lock-timeout=${text}`, 'images');
  expect(outcome.status).toBe(2);
  expect(oneLine(outcome)).toContain('--lock-timeout');
});

test('a lock that a killed process left is taken over', async () => {
  await place().ok('tag', '-f', 'held', 'web');
  const { pid } = await hold('refs/tags/held');
  process.kill(pid, 'SIGKILL');
  expect(existsSync(place().path('.imgstore/refs/tags/held.lock'))).toBe(true);
  expect(await place().run('tag', '-f', 'held', 'web', '--lock-timeout', '5')).toMatchObject({
    status: 0,
    stderr: '',
  });
  expect(existsSync(place().path('.imgstore/refs/tags/held.lock'))).toBe(false);
});
