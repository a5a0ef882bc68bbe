import { existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeMissingFolders } from '../../files/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';

test('makeMissingFolders makes a folder with those above it, and tells the first', async () => {
  const top = await temporaryFolder();
  expect(await makeMissingFolders(join(top, 'a/b/c'))).toBe(join(top, 'a'));
  expect(await makeMissingFolders(join(top, 'a/b/../d'))).toBe(join(top, 'a/d'));
  expect(statSync(join(top, 'a/b/c')).isDirectory()).toBe(true);
  expect(await makeMissingFolders(join(top, 'a/b/c'))).toBeUndefined();
  expect(await makeMissingFolders('/')).toBeUndefined();
});

test('makeMissingFolders takes a link to a folder for one, and nothing else', async () => {
  const top = await temporaryFolder();
  mkdirSync(join(top, 'real'));
  symlinkSync('real', join(top, 'link'));
  symlinkSync('nowhere', join(top, 'broken'));
  writeFileSync(join(top, 'file'), '');
  expect(await makeMissingFolders(join(top, 'link'))).toBeUndefined();
  expect(await makeMissingFolders(join(top, 'link/a/b'))).toBe(join(top, 'link/a'));
  await expect(makeMissingFolders(join(top, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeMissingFolders(join(top, 'file/a'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  await expect(makeMissingFolders(join(top, 'broken'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeMissingFolders(join(top, 'broken/a'))).rejects.toMatchObject({ code: 'EEXIST' });
});

test.skipIf(!existsSync('/proc/self'))('makeMissingFolders ends where no folder can be made', async () => {
  for (const path of ['/proc/imgstore', '/proc/imgstore/a/b'])
    await expect(makeMissingFolders(path)).rejects.toMatchObject({ code: 'ENOENT' });
});
