import { existsSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { oneLine, Workplace } from './imgstore.ts';
import { CLUSTER, disk, writeDisk } from './sample.ts';

/** A store with a version of which the second cluster is lost. */
async function damagedStore(): Promise<Workplace> {
  const place = await Workplace.withStore();
  await writeDisk(place, 'web.raw', 1, 2, 3);
  await place.ok('commit', 'web.raw');
  const id = place.git('rev-parse', 'web:disks/vda/01');
  rmSync(place.path('.imgstore/objects', id.slice(0, 2), id.slice(2)), { force: true });
  return place;
}

test('checkout --skip-damaged keeps the file, lists what is zeros, and exits with 3', async () => {
  const place = await damagedStore();
  const outcome = await place.run('checkout', 'web', '-o', 'out.raw', '--skip-damaged');
  expect(outcome.status).toBe(3);
  expect(outcome.stderr).toMatch(
    /^imgstore: out\.raw: disk vda: 65536 bytes at 65536 are zeros: [^\n]*[0-9a-f]{64}[^\n]*\n$/,
  );
  expect(outcome.stdout).toMatch(/^out\.raw: raw, 192 KiB, 128 KiB written in /);
  expect((await readFile(place.path('out.raw'))).equals(disk(1, undefined, 3))).toBe(true);
});

test('checkout --skip-damaged --json lists the ranges, none of a whole version', async () => {
  const place = await damagedStore();
  const outcome = await place.run('checkout', 'web', '-o', 'out.qcow2', '--skip-damaged', '--json');
  expect(outcome.status).toBe(3);
  expect(JSON.parse(outcome.stdout).damaged).toEqual([
    { file: 'out.qcow2', disk: 'vda', offset: CLUSTER, length: CLUSTER, reason: expect.any(String) },
  ]);
  await writeDisk(place, 'other.raw', 1, 3);
  await place.ok('commit', 'other.raw');
  expect(await place.json('checkout', 'other', '--skip-damaged')).toMatchObject({ damaged: [] });
});

test('checkout without --skip-damaged makes no file of a damaged version', async () => {
  const place = await damagedStore();
  const outcome = await place.run('checkout', 'web', '-o', 'out.raw');
  expect(outcome).toMatchObject({ status: 1, stdout: '' });
  expect(oneLine(outcome)).toMatch(
    /is not in the store: see what 'imgstore fsck' says, or .*--skip-damaged$/,
  );
  expect(existsSync(place.path('out.raw'))).toBe(false);
});
