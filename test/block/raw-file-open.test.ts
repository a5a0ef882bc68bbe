import { execFileSync } from 'node:child_process';
import { chmod, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { RawFile } from '../../block/index.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** Any user but root: root may read everything, so permissions can only be tested as somebody else. */
const NOBODY = 65534;

test('RawFile.open throws NOT_FOUND when nothing is there', async () => {
  const path = join(await temporaryFolder(), 'missing.raw');
  await expect(RawFile.open(path)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: `${path}: no such file or folder`,
    data: { path, system: 'ENOENT' },
  });
});

test('RawFile.open throws NOT_FOUND when a symbolic link leads nowhere', async () => {
  const path = join(await temporaryFolder(), 'link.raw');
  await symlink('nowhere', path);
  await expect(RawFile.open(path)).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('RawFile.open throws BAD_IMAGE when it is given a folder', async () => {
  const path = await temporaryFolder();
  await expect(RawFile.open(path)).rejects.toMatchObject({
    code: 'BAD_IMAGE',
    message: `${path}: is a folder: name an image file or a block device`,
  });
});

test('RawFile.open throws BAD_IMAGE at once when it is given a pipe that nobody writes to', async () => {
  const path = join(await temporaryFolder(), 'pipe');
  execFileSync('mkfifo', [path]);
  await expect(RawFile.open(path)).rejects.toMatchObject({
    code: 'BAD_IMAGE',
    message: expect.stringContaining('is a pipe'),
  });
});

test('RawFile.open throws BAD_IMAGE when it is given a socket', async () => {
  const path = join(await temporaryFolder(), 'socket');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => void server.close());
  await expect(RawFile.open(path)).rejects.toMatchObject({
    code: 'BAD_IMAGE',
    message: expect.stringContaining('is a socket'),
  });
});

test('RawFile.open throws BAD_IMAGE when it is given a character device', async () => {
  await expect(RawFile.open('/dev/null')).rejects.toMatchObject({
    code: 'BAD_IMAGE',
    message: expect.stringContaining('is a character device'),
  });
});

test('RawFile.open throws IO when a part of the path is a file', async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'file'), '');
  await expect(RawFile.open(join(folder, 'file', 'disk.raw'))).rejects.toMatchObject({
    code: 'IO',
    data: { system: 'ENOTDIR' },
  });
});

test('RawFile.open throws IO when symbolic links go round in a circle', async () => {
  const path = join(await temporaryFolder(), 'circle.raw');
  await symlink('circle.raw', path);
  await expect(RawFile.open(path)).rejects.toMatchObject({ code: 'IO', data: { system: 'ELOOP' } });
});

test('RawFile.open throws IO when the user may not read the file', async () => {
  const folder = await temporaryFolder();
  await chmod(folder, 0o755);
  const path = join(folder, 'secret.raw');
  await writeFile(path, 'secret');
  await chmod(path, 0);
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(NOBODY);
  try {
    await expect(RawFile.open(path)).rejects.toMatchObject({
      code: 'IO',
      message: `${path}: permission denied`,
      data: { system: 'EACCES' },
    });
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});
