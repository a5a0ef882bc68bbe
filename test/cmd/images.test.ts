import { expect, test } from 'vitest';
import { sharedWorkplace } from './imgstore.ts';
import { CLUSTER, fillSampleStore } from './sample.ts';
import { DATE } from './shapes.ts';

const place = sharedWorkplace(fillSampleStore);

test('images --json lists every branch with its last version', async () => {
  const vda = { name: 'vda', virtualSize: 3 * CLUSTER };
  const image = (name: string, versions: number, ...disks: readonly object[]) => ({
    name,
    commit: place().git('rev-parse', name),
    date: DATE,
    versions,
    disks,
  });
  expect(await place().json('images')).toMatchObject([
    image('db', 1, vda, { name: 'vdb', virtualSize: CLUSTER }),
    image('web', 2, vda),
    image('web-test', 2, vda),
  ]);
});

test('images prints a table', async () => {
  const lines = (await place().ok('images')).split('\n');
  expect(lines[0]).toMatch(/^IMAGE +VERSION +DATE +VERSIONS +DISKS$/);
  expect(lines[1]).toMatch(/^db +[0-9a-f]{12} +\d{4}-\d\d-\d\d \d\d:\d\d +1 +vda 192 KiB, vdb 64 KiB$/);
  expect(lines).toHaveLength(5);
});
