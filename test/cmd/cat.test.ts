import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { oneLine, PROGRAM, sharedWorkplace } from './imgstore.ts';
import { CLUSTER, disk, fillSampleStore, writeDisk } from './sample.ts';

const BYTES = disk(1, undefined, 2);
const place = sharedWorkplace(async (made) => {
  await fillSampleStore(made);
  await writeDisk(made, 'big.raw', ...Array.from({ length: 160 }, (_, i) => i));
  await made.ok('commit', 'big.raw');
});

test('cat writes the bytes of a version to stdout', async () => {
  const { status, bytes, stderr } = await place().run('cat', 'v1');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(bytes.equals(BYTES)).toBe(true);
});

test.each([
  [0, 1],
  [1, 2 * CLUSTER],
  [CLUSTER - 1, 2],
  [CLUSTER, CLUSTER],
  [2 * CLUSTER + 5, CLUSTER - 5],
  [3 * CLUSTER - 1, 1],
  [3 * CLUSTER, 0],
  [7, 0],
])('cat --offset %d --length %d', async (offset, length) => {
  const { status, bytes } = await place().run('cat', 'v1', '--offset', `${offset}`, '--length', `${length}`);
  expect(status).toBe(0);
  expect(bytes.equals(BYTES.subarray(offset, offset + length))).toBe(true);
});

test('cat takes sizes with units, and goes to the end when no length is given', async () => {
  expect((await place().run('cat', 'v1', '--offset', '64K', '--length', '1K')).bytes).toEqual(
    Buffer.alloc(1024),
  );
  expect((await place().run('cat', 'v1', '--offset', '128K')).bytes.equals(disk(2))).toBe(true);
});

test.each([
  ['--offset', '192.5K'],
  ['--offset', `${3 * CLUSTER + 1}`],
  ['--length', `${3 * CLUSTER + 1}`],
  ['--offset', '1', '--length', `${3 * CLUSTER}`],
  ['--offset', '9007199254740991', '--length', '1'],
])('cat %s %s exits with 2 when it is outside of the disk', async (...args) => {
  const outcome = await place().run('cat', 'v1', ...args);
  expect(outcome).toMatchObject({ status: 2, stdout: '' });
  oneLine(outcome);
});

test('cat writes a disk of many chunks', async () => {
  const { status, bytes } = await place().run('cat', 'big');
  expect(status).toBe(0);
  expect(bytes.equals(disk(...Array.from({ length: 160 }, (_, i) => i)))).toBe(true);
});

test('cat ends quietly when its reader has seen enough', () => {
  const command = `"${process.execPath}" "${PROGRAM}" cat big 2>err.txt | head -c 1 | wc -c; echo "\${PIPESTATUS[0]}"; cat err.txt`;
  const { stdout } = spawnSync('bash', ['-c', command], {
    cwd: place().folder,
    env: place().environment,
    encoding: 'utf8',
  });
  expect(stdout).toBe('1\n0\n');
});

test('cat asks for the disk when a version has several', async () => {
  const outcome = await place().run('cat', 'db');
  expect(outcome.status).toBe(2);
  expect(oneLine(outcome)).toContain('has the disks vda, vdb: choose one with --disk');
  expect((await place().run('cat', 'db', '--disk', 'vdb')).bytes.equals(disk(5))).toBe(true);
  const unknown = await place().run('cat', 'db', '--disk', 'vdc');
  expect(unknown.status).toBe(1);
  expect(oneLine(unknown)).toContain("has no disk 'vdc'");
});

test('cat writes no bytes to a terminal', () => {
  const command = `"${process.execPath}" "${PROGRAM}" cat v1; echo "exit $?"`;
  const { stdout } = spawnSync('script', ['-qec', command, '/dev/null'], {
    cwd: place().folder,
    env: place().environment,
    encoding: 'utf8',
  });
  expect(stdout).toMatch(
    /^imgstore: cat writes the bytes of a disk: send them to a file or a pipe\r?\nexit 2\r?\n$/,
  );
});

test('cat --file writes an attachment, and says which there are when it is not one of them', async () => {
  await writeDisk(place(), 'small.raw', 1);
  await writeFile(place().path('domain.xml'), '<domain/>\n');
  await place().ok('commit', 'small.raw', '-b', 'attached', '--attach', 'domain.xml=domain.xml');
  expect((await place().run('cat', 'attached', '--file', 'domain.xml')).bytes.toString()).toBe('<domain/>\n');
  const missing = await place().run('cat', 'attached', '--file', 'nvram');
  expect(missing.status).toBe(1);
  expect(oneLine(missing)).toMatch(/has no attachment 'nvram': it has domain\.xml/);
  expect((await place().run('cat', 'attached', '--file', 'domain.xml', '--disk', 'vda')).status).toBe(2);
});
