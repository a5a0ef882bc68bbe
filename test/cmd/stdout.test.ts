import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { oneLine, PROGRAM } from './imgstore.ts';
import { sampleStores } from './sample.ts';

const sample = sampleStores();

const VERBS = [
  ['cat', 'web'],
  ['log'],
  ['log', '--json'],
  ['images'],
  ['map', 'web'],
  ['help'],
  ['--version'],
];

test.each(VERBS)('%s %s says in one line that standard output is full, and exits with 1', async (...args) => {
  const place = await sample();
  const through = ['sh', '-c', 'exec "$@" > /dev/full', 'sh'];
  const outcome = await place.start(args, { through }).finished;
  expect(outcome).toMatchObject({ status: 1, signal: null });
  expect(oneLine(outcome)).toMatch(/^standard output: .*no space left on device/);
});

test('a commit whose result cannot be printed is made all the same', async () => {
  const place = await sample();
  const through = ['sh', '-c', 'exec "$@" > /dev/full', 'sh'];
  const outcome = await place.start(['commit', 'b.raw'], { through }).finished;
  expect(outcome.status).toBe(1);
  oneLine(outcome);
  expect((await place.json('show', 'b')).refs).toEqual(['b']);
});

test.each(VERBS)('%s %s ends quietly when nobody reads what it prints', async (...args) => {
  const place = await sample();
  const command = '("$@" 2>err.txt; echo "$?" >code.txt) | true; cat code.txt err.txt';
  const { stdout } = spawnSync('bash', ['-c', command, 'bash', process.execPath, PROGRAM, ...args], {
    cwd: place.folder,
    env: place.environment,
    encoding: 'utf8',
  });
  expect(stdout).toBe('0\n');
});
