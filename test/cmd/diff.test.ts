import { expect, test } from 'vitest';
import { oneLine, sharedWorkplace } from './imgstore.ts';
import { CLUSTER, fillSampleStore } from './sample.ts';

const place = sharedWorkplace(fillSampleStore);

test('diff --json lists what was added, removed and changed', async () => {
  expect(await place().json('diff', 'web~1', 'web')).toEqual([
    { disk: 'vda', offset: CLUSTER, length: CLUSTER, kind: 'added' },
    { disk: 'vda', offset: 2 * CLUSTER, length: CLUSTER, kind: 'removed' },
  ]);
  expect(await place().json('diff', 'web~1', 'web-test')).toEqual([
    { disk: 'vda', offset: 0, length: CLUSTER, kind: 'changed' },
  ]);
  expect(await place().json('diff', 'web', 'db')).toEqual([
    { disk: 'vdb', offset: 0, length: CLUSTER, kind: 'added' },
  ]);
  expect(await place().json('diff', 'db', 'web')).toEqual([
    { disk: 'vdb', offset: 0, length: CLUSTER, kind: 'removed' },
  ]);
});

test('diff prints a line for each range and a sum', async () => {
  expect(await place().ok('diff', 'web~1', 'web')).toBe(
    'vda 65536 65536 added\nvda 131072 65536 removed\n0 bytes changed, 64 KiB added, 64 KiB removed\n',
  );
  expect(await place().ok('diff', 'web', 'v2')).toBe('');
});

test('diff --exit-code exits with 0 for the same, 1 for different, 2 for trouble', async () => {
  expect((await place().run('diff', 'web', 'v2', '--exit-code')).status).toBe(0);
  expect((await place().run('diff', 'web~1', 'web', '--exit-code')).status).toBe(1);
  expect((await place().run('diff', 'web~1', 'web')).status).toBe(0);
  for (const args of [
    ['diff', '--exit-code', 'web', 'nothing'],
    ['--json', 'diff', 'web', 'nothing', '--exit-code'],
  ]) {
    const outcome = await place().run(...args);
    expect(outcome.status).toBe(2);
    oneLine(outcome);
  }
  expect((await place().run('diff', 'web', 'nothing')).status).toBe(1);
});
