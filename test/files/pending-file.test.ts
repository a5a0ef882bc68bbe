import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { PendingFile, syncFolder, watchPoints, writeWholeFile } from '../../files/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { failAtEach, recordPoints } from './fault.ts';
import { filesBelow } from './names.ts';

const bytes = (text: string) => Buffer.from(text);

test('PendingFile shows nothing under the name before it is renamed, and all after', async () => {
  const folder = await temporaryFolder();
  const file = await PendingFile.create('test', folder);
  expect(dirname(file.path)).toBe(folder);
  await file.write(0, bytes('hello'));
  await file.write(5, bytes(' world'));
  await file.sync();
  expect(filesBelow(folder)).toEqual([file.path.slice(folder.length + 1)]);
  await file.rename(join(folder, 'name'));
  expect(filesBelow(folder)).toEqual(['name']);
  expect(readFileSync(join(folder, 'name'), 'utf8')).toBe('hello world');
});

test('PendingFile.rename replaces the file that has the name', async () => {
  const folder = await temporaryFolder();
  writeFileSync(join(folder, 'name'), 'old and longer');
  const file = await PendingFile.create('test', folder);
  await file.write(0, bytes('new'));
  expect(readFileSync(join(folder, 'name'), 'utf8')).toBe('old and longer');
  await file.rename(join(folder, 'name'));
  expect(readFileSync(join(folder, 'name'), 'utf8')).toBe('new');
});

test('PendingFile.sync fails when a sending to the disk has failed before, though the next would not', async () => {
  const folder = await temporaryFolder();
  const handle = await open(join(folder, 'any'), 'w');
  const failing = vi.spyOn(Object.getPrototypeOf(handle) as FileHandle, 'datasync');
  onTestFinished(() => failing.mockRestore());
  await handle.close();
  const file = await PendingFile.create('test', folder);
  await file.write(0, bytes('hello'));
  failing.mockRejectedValueOnce(Object.assign(new Error('lost'), { code: 'EIO' }));
  file.beginSync();
  await expect(file.sync()).rejects.toMatchObject({ code: 'IO', data: { system: 'EIO' } });
  file.beginSync();
  await file.discard();
  expect(filesBelow(folder)).toEqual(['any']);
});

/** What a file system without links says to link(2): FAT, and network file systems. */
const NO_LINKS = ['EPERM', 'ENOTSUP'];

/** Makes link(2) fail until the test ends. */
function refuseLinks(code: string | undefined): void {
  const stop = watchPoints((point) => {
    if (point === 'test.link' && code !== undefined) throw Object.assign(new Error(code), { code });
  });
  onTestFinished(stop);
}

test.each([undefined, ...NO_LINKS])(
  'PendingFile.claim gives the file its name (link(2): %s)',
  async (code) => {
    refuseLinks(code);
    const folder = await temporaryFolder();
    const file = await PendingFile.create('test', folder, { mode: 0o444 });
    await file.write(0, bytes('new'));
    await file.claim(join(folder, 'name'));
    expect(filesBelow(folder)).toEqual(['name']);
    expect(readFileSync(join(folder, 'name'), 'utf8')).toBe('new');
    expect(statSync(join(folder, 'name'))).toMatchObject({ nlink: 1 });
    expect(statSync(join(folder, 'name')).mode & 0o222).toBe(0);
  },
);

test.each([undefined, ...NO_LINKS])(
  'PendingFile.claim throws for a name that something has, and leaves that (link(2): %s)',
  async (code) => {
    refuseLinks(code);
    const folder = await temporaryFolder();
    writeFileSync(join(folder, 'name'), 'mine');
    symlinkSync('nowhere', join(folder, 'link'));
    for (const name of ['name', 'link']) {
      const file = await PendingFile.create('test', folder);
      await expect(file.claim(join(folder, name))).rejects.toMatchObject({
        code: 'IO',
        data: { system: 'EEXIST' },
      });
      await file.discard();
    }
    expect(readdirSync(folder).sort()).toEqual(['link', 'name']);
    expect(readFileSync(join(folder, 'name'), 'utf8')).toBe('mine');
  },
);

test('PendingFile.claim leaves no empty file when the rename over it fails', async () => {
  const folder = await temporaryFolder();
  const stop = watchPoints((point) => {
    if (point === 'test.link') throw Object.assign(new Error('no'), { code: 'EPERM' });
    if (point === 'test.rename') throw Object.assign(new Error('no'), { code: 'ENOSPC' });
  });
  onTestFinished(stop);
  const file = await PendingFile.create('test', folder);
  await expect(file.claim(join(folder, 'name'))).rejects.toMatchObject({ code: 'IO' });
  await file.discard();
  expect(filesBelow(folder)).toEqual([]);
});

test('PendingFile gives each file a name of its own, with prefix and kind', async () => {
  const folder = await temporaryFolder();
  const files = await Promise.all(
    Array.from({ length: 20 }, () => PendingFile.create('loose', folder, { prefix: 'tmp_obj_' })),
  );
  expect(filesBelow(folder)).toHaveLength(20);
  for (const name of filesBelow(folder))
    expect(name).toMatch(/^tmp_obj_loose_[0-9a-f]{8}-\d+-\d+_[0-9a-f]{12}$/);
  for (const file of files) await file.discard();
  expect(filesBelow(folder)).toEqual([]);
});

test('PendingFile makes the file with the permission bits that were asked for', async () => {
  const folder = await temporaryFolder();
  const [open, closed] = [
    await PendingFile.create('test', folder),
    await PendingFile.create('test', folder, { mode: 0o400 }),
  ];
  expect(statSync(open.path).mode & 0o777).toBe(0o666 & ~process.umask());
  expect(statSync(closed.path).mode & 0o777).toBe(0o400);
  // Also where nobody may write, the one who made it may.
  await closed.write(0, bytes('x'));
  await open.discard();
  await closed.discard();
});

test('PendingFile.read gives back what was written', async () => {
  const file = await PendingFile.create('test', await temporaryFolder());
  await file.write(0, bytes('0123456789'));
  const into = Buffer.alloc(4);
  expect(file.read(3, into)).toBe(4);
  expect(into.toString()).toBe('3456');
  expect(file.read(8, into)).toBe(2);
  expect(file.read(100, into)).toBe(0);
  await file.discard();
});

test('PendingFile.truncate makes what was never written zeros', async () => {
  const file = await PendingFile.create('test', await temporaryFolder());
  await file.truncate(2 ** 30);
  await file.write(100, bytes('x'));
  expect(statSync(file.path).size).toBe(2 ** 30);
  expect(statSync(file.path).blocks * 512).toBeLessThan(2 ** 20);
  const into = Buffer.alloc(3, 1);
  file.read(99, into);
  expect(into).toEqual(Buffer.of(0, 'x'.charCodeAt(0), 0));
  await file.truncate(1);
  expect(statSync(file.path).size).toBe(1);
  await file.discard();
});

test('PendingFile.discard does nothing after a rename, or when it is called again', async () => {
  const folder = await temporaryFolder();
  const file = await PendingFile.create('test', folder);
  await file.rename(join(folder, 'name'));
  await file.discard();
  await file.discard();
  expect(filesBelow(folder)).toEqual(['name']);
});

test('PendingFile.discard does nothing when the file is gone', async () => {
  const file = await PendingFile.create('test', await temporaryFolder());
  rmSync(file.path);
  await file.discard();
});

test('PendingFile.create throws NOT_FOUND naming the path when there is no folder', async () => {
  const folder = join(await temporaryFolder(), 'missing');
  await expect(PendingFile.create('test', folder)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining(folder),
  });
});

test('PendingFile.rename throws IO naming the path when a folder has the name', async () => {
  const folder = await temporaryFolder();
  mkdirSync(join(folder, 'name'));
  const file = await PendingFile.create('test', folder);
  await expect(file.rename(join(folder, 'name'))).rejects.toMatchObject({
    code: 'IO',
    data: { path: join(folder, 'name') },
  });
  await file.discard();
  expect(filesBelow(folder)).toEqual([]);
});

test('PendingFile throws IO when it is used after it was renamed', async () => {
  const folder = await temporaryFolder();
  const file = await PendingFile.create('test', folder);
  await file.rename(join(folder, 'name'));
  await expect(file.write(0, bytes('x'))).rejects.toMatchObject({ code: 'IO' });
  expect(() => file.read(0, Buffer.alloc(1))).toThrow();
  await expect(file.sync()).rejects.toMatchObject({ code: 'IO' });
  await expect(file.truncate(0)).rejects.toMatchObject({ code: 'IO' });
});

test('syncFolder throws NOT_FOUND naming the folder when there is none', async () => {
  const folder = join(await temporaryFolder(), 'missing');
  await expect(syncFolder('test', folder)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    data: { path: folder },
  });
});

test('writeWholeFile writes, fsyncs, renames and fsyncs the folder, in this order', async () => {
  const folder = await temporaryFolder();
  const passed = recordPoints();
  await writeWholeFile('config', join(folder, 'name'), bytes('text'));
  expect(passed.map(({ point }) => point)).toEqual([
    'config.create',
    'config.write',
    'config.fsync',
    'config.rename',
    'config.fsync-folder',
  ]);
  expect(passed.slice(-2).map(({ path }) => path)).toEqual([join(folder, 'name'), folder]);
  expect(readFileSync(join(folder, 'name'), 'utf8')).toBe('text');
});

test('writeWholeFile leaves the old file or the new and no temporary one when the disk is full at any point', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'name');
  writeFileSync(path, 'old');
  const failed = await failAtEach(
    () => writeWholeFile('config', path, bytes('new')),
    (error, point) => {
      expect(error, point).toMatchObject({ code: 'IO', message: expect.stringContaining('no space left') });
      expect(filesBelow(folder)).toEqual(['name']);
      expect(readFileSync(path, 'utf8')).toBe(point === 'config.fsync-folder' ? 'new' : 'old');
      writeFileSync(path, 'old');
    },
  );
  expect(failed).toHaveLength(5);
  expect(readFileSync(path, 'utf8')).toBe('new');
});
