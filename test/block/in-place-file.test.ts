import { execFile } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { InPlaceFile } from '../../block/index.ts';
import { temporaryFolder } from './temporary-folder.ts';

const run = promisify(execFile);
const SIZE = 2 ** 20;

/** A file of ones that is open for changes. */
async function openFile() {
  const path = join(await temporaryFolder(), 'disk.raw');
  await writeFile(path, Buffer.alloc(SIZE, 1));
  const file = await InPlaceFile.open(path);
  onTestFinished(() => file.close());
  return { path, file };
}

test('InPlaceFile.open keeps QEMU and others out until the file is closed', async () => {
  const path = join(await temporaryFolder(), 'disk.raw');
  await writeFile(path, Buffer.alloc(SIZE));
  const file = await InPlaceFile.open(path);
  const why = 'is open in a running QEMU, or in an imgstore that writes to it: stop that first';
  await expect(InPlaceFile.open(path)).rejects.toMatchObject({ code: 'IN_USE', message: `${path}: ${why}` });
  const qemu = () => run('qemu-io', ['-f', 'raw', '-c', 'read 0 1k', path]);
  await expect(qemu()).rejects.toMatchObject({
    stderr: expect.stringMatching(/Failed to get .* lock\s+Is another process using the image/),
  });
  await file.close();
  await qemu();
  await (await InPlaceFile.open(path)).close();
});

test('InPlaceFile.zero gives room back, and leaves what lies around it and behind the end', async () => {
  const { path, file } = await openFile();
  const { blocks } = await stat(path);
  expect(file.isChanged).toBe(false);
  file.zero(SIZE, 4096);
  expect(file.isChanged).toBe(false);
  file.zero(65536, 65536);
  file.zero(SIZE - 100, 5000);
  const wanted = Buffer.alloc(SIZE, 1)
    .fill(0, 65536, 131072)
    .fill(0, SIZE - 100);
  expect((await readFile(path)).equals(wanted)).toBe(true);
  expect((await stat(path)).blocks).toBe(blocks - 128);
  expect(file.isChanged).toBe(true);
});

test('InPlaceFile.read fills what lies behind the end with zeros, and write makes the file longer', async () => {
  const { path, file } = await openFile();
  const bytes = Buffer.alloc(200, 7);
  file.read(SIZE - 100, bytes);
  expect(bytes.equals(Buffer.concat([Buffer.alloc(100, 1), Buffer.alloc(100)]))).toBe(true);
  file.write(SIZE - 100, Buffer.alloc(200, 2));
  expect(file.size).toBe(SIZE + 100);
  await file.resize(SIZE);
  await file.sync();
  expect((await stat(path)).size).toBe(SIZE);
});
