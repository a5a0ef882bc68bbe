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
