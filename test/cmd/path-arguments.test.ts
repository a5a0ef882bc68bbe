import { readdir } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { oneLine } from './imgstore.ts';
import { sampleStores } from './sample.ts';

const sample = sampleStores();

test.each([
  ['commit', ''],
  ['commit', 'web.raw', ''],
  ['commit', '--disk', 'vda='],
  ['commit', 'web.raw', '--attach', 'x='],
  ['commit', 'web.raw', '--allow-backing', ''],
  ['commit', 'web.raw', '--key-file', ''],
  ['checkout', 'web', '-o', ''],
  ['checkout', 'web', '--output='],
  ['checkout', 'web', '--backing', ''],
  ['checkout', 'web', '--allow-backing', ''],
  ['compare', 'web', ''],
  ['info', ''],
  ['check', ''],
  ['init', ''],
  ['log', '--store', ''],
  ['--store', '', 'log'],
  ['-C', '', 'log'],
])('%s %s %s %s is a usage error: a path is empty', async (...args) => {
  const place = await sample();
  const before = await readdir(place.folder);
  const outcome = await place.run(...args);
  // For check, 2 says that the image is corrupt.
  expect(outcome).toMatchObject({ status: args[0] === 'check' ? 1 : 2, stdout: '' });
  expect(oneLine(outcome)).toMatch(/is empty|write NAME=FILE/);
  expect(await readdir(place.folder)).toEqual(before);
});

test('a name that is not UTF-8 is a usage error, and no file of another name is made', async () => {
  const place = await sample();
  const before = await readdir(place.folder);
  // A shell hands on bytes that no string of JavaScript can hold.
  const through = ['bash', '-c', '"$@" "$(printf \'out\\xff.raw\')"', 'bash'];
  for (const args of [['checkout', 'web', '-o'], ['commit'], ['info']]) {
    const outcome = await place.start(args, { through }).finished;
    expect(outcome).toMatchObject({ status: 2, stdout: '' });
    expect(oneLine(outcome)).toContain('is not a name in UTF-8');
  }
  expect(await readdir(place.folder)).toEqual(before);
});
