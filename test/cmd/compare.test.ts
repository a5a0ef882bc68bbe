import { truncate, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { qemuImg } from '../qcow2/qemu.ts';
import { oneLine, sharedWorkplace } from './imgstore.ts';
import { CLUSTER, disk, fillSampleStore, writeDisk } from './sample.ts';

const place = sharedWorkplace(fillSampleStore);

test('compare exits with 0 when two versions or a version and an image are the same', async () => {
  await qemuImg('convert', '-O', 'qcow2', place().path('web.raw'), place().path('web.qcow2'));
  for (const other of ['web', 'v2', 'web.raw', 'web.qcow2'])
    expect(await place().run('compare', 'web', other)).toMatchObject({
      status: 0,
      stdout: 'identical\n',
      stderr: '',
    });
  const same = { identical: true, disk: null, offset: null, reason: null };
  expect(await place().json('compare', 'web', 'web.qcow2')).toEqual(same);
});

test('compare exits with 1 and tells where when they differ', async () => {
  const versions = await place().run('compare', 'web', 'web~1', '--json');
  expect(versions).toMatchObject({ status: 1, stderr: '' });
  expect(JSON.parse(versions.stdout)).toMatchObject({ identical: false, disk: 'vda', offset: CLUSTER });

  const bytes = disk(1, 3, undefined);
  bytes[2 * CLUSTER + 77] = 1;
  await writeFile(place().path('other.raw'), bytes);
  const file = await place().run('compare', 'web', 'other.raw');
  expect(file).toMatchObject({
    status: 1,
    stderr: '',
    stdout: `different: vda: the cluster at ${2 * CLUSTER} differs\n`,
  });
  expect((await place().run('compare', 'web', 'db')).stdout).toContain('only one version has the disk vdb');
});

test('compare takes a disk that is longer by zeros for the same', async () => {
  await writeDisk(place(), 'long.raw', 1, 3);
  await truncate(place().path('long.raw'), 9 * CLUSTER + 512);
  expect((await place().run('compare', 'web', 'long.raw')).status).toBe(0);
  await writeFile(
    place().path('long.raw'),
    Buffer.concat([disk(1, 3, undefined), Buffer.alloc(1000), Buffer.alloc(1, 1)]),
  );
  const outcome = await place().run('compare', 'web', 'long.raw', '--json');
  expect(outcome.status).toBe(1);
  expect(JSON.parse(outcome.stdout)).toMatchObject({ offset: 3 * CLUSTER + 1000 });
});

test.each([
  ['nothing', 'web'],
  ['web', 'nothing.raw'],
  ['web', '.'],
  ['web~9', 'web'],
  ['db', 'web.raw'],
])('compare %s %s exits with 2 or more for trouble', async (a, b) => {
  const outcome = await place().run('compare', a, b);
  expect(outcome.status).toBeGreaterThanOrEqual(2);
  expect(outcome.stdout).toBe('');
  oneLine(outcome);
});
