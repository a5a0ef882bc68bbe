import { constants } from 'node:fs';
import { type FileHandle, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { system } from '../acceptance/system.ts';
import { type Outcome, oneLine, type Running, sharedWorkplace, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';
import { listStore, unfinished } from './store-files.ts';

/** 160 MiB that do not compress: no part of the work is done at once. */
const SEEDS = Array.from({ length: 2560 }, (_, i) => i);

const place = sharedWorkplace(async (made) => {
  await made.ok('init');
  await writeDisk(made, 'small.raw', 1);
  await made.ok('commit', 'small.raw');
  await writeDisk(made, 'big.raw', ...SEEDS);
});

/** Waits until a file of this name is there, which must be long before the run ends. */
async function begins({ child }: Running, folder: string, pattern: RegExp): Promise<void> {
  while (child.exitCode === null) {
    if ((await readdir(folder)).some((name) => pattern.test(name))) return;
    await sleep(2);
  }
}

/** Sends a signal when a file of this name is there. */
async function interrupt(
  running: Running,
  folder: string,
  pattern: RegExp,
  signal: NodeJS.Signals,
): Promise<Outcome> {
  await begins(running, folder, pattern);
  running.child.kill(signal);
  return running.finished;
}

test.each(['SIGINT', 'SIGTERM'] as const)(
  'a commit that %s stops leaves the store as it was',
  async (signal) => {
    const store = place().path('.imgstore');
    const before = await listStore(store);
    const running = place().start(['commit', 'big.raw']);
    const outcome = await interrupt(running, place().path('.imgstore/objects/pack'), /^tmp_/, signal);
    expect(outcome).toMatchObject({ status: 130, signal: null, stdout: '' });
    oneLine(outcome);
    expect(await listStore(store)).toEqual(before);
    place().fsck();
  },
);

test.each(['raw', 'qcow2'])('a checkout as %s that is interrupted leaves no file', async (format) => {
  await place().ok('commit', 'big.raw');
  const before = await readdir(place().folder);
  const running = place().start(['checkout', 'big', '-o', 'out', '--format', format]);
  const outcome = await interrupt(running, place().folder, /^\.out\.tmp_/, 'SIGINT');
  expect(outcome).toMatchObject({ status: 130, signal: null, stdout: '' });
  oneLine(outcome);
  expect(await readdir(place().folder)).toEqual(before);
});

test('a second signal ends the process at once, and nothing unfinished stays', async () => {
  await place().ok('init', 'elsewhere');
  const store = place().path('elsewhere/.imgstore');
  const running = place().start(['commit', 'big.raw', '--store', store]);
  await begins(running, join(store, 'objects/pack'), /^tmp_/);
  running.child.kill('SIGINT');
  running.child.kill('SIGINT');
  expect((await running.finished).status).toBe(130);
  expect(unfinished(await listStore(store))).toEqual([]);
});

test('a compare that is interrupted exits with 130', async () => {
  await place().ok('commit', 'big.raw', '-b', 'whole');
  const running = place().start(['compare', 'whole', 'big.raw']);
  // Its descriptors tell when it has the image open.
  while (
    running.child.exitCode === null &&
    !(await opened(running.child.pid!)).some((path) => path.endsWith('big.raw'))
  )
    await sleep(1);
  running.child.kill('SIGINT');
  const outcome = await running.finished;
  // It may have read all just then.
  if (outcome.status !== 0) {
    expect(outcome).toMatchObject({ status: 130, stdout: '' });
    oneLine(outcome);
  }
});

/** Paths of the files that a process has open. */
async function opened(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`;
  const numbers = await readdir(folder).catch(() => []);
  return Promise.all(numbers.map((number) => readlink(join(folder, number)).catch(() => '')));
}

test.each([
  ['SIGINT', 'cat'],
  ['SIGTERM', 'cat'],
  ['SIGINT', 'map'],
  ['SIGINT', 'diff'],
  ['SIGINT', 'log'],
  ['SIGINT', 'stats'],
  ['SIGINT', 'show'],
] as const)('%s ends %s at once, since no handler of ours takes it', async (signal, verb) => {
  const own = await Workplace.withStore();
  await writeDisk(own, 'a.raw', 1);
  await own.ok('commit', 'a.raw', '-b', 'web');
  await writeDisk(own, 'a.raw', 2);
  await own.ok('commit', 'a.raw', '-b', 'web');
  // A fifo as git config: the verb waits for its first byte.
  const config = own.path('config-fifo');
  system('mkfifo', config);
  const args = verb === 'diff' ? ['diff', 'web~1', 'web'] : [verb, ...(verb === 'stats' ? [] : ['web'])];
  const running = own.start(args, { env: { GIT_CONFIG_GLOBAL: config } });
  const writer = await openBeside(running, config);
  running.child.kill(signal);
  // With a handler it would end by an exit code. A shell gives this as 130 or 143.
  expect(await running.finished).toMatchObject({ status: null, signal, stdout: '', stderr: '' });
  await writer.close();
});

/** Opens a fifo for writing when somebody reads from it, who then waits for the first byte. */
async function openBeside({ child }: Running, path: string): Promise<FileHandle> {
  while (child.exitCode === null) {
    try {
      return await open(path, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch {
      await sleep(2);
    }
  }
  throw new Error('it ended without reading');
}
