import { existsSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeFolder, makeInFolder } from '../../files/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { noSpace, recordPoints } from './fault.ts';

test('makeFolder fsyncs every folder in which it makes one', async () => {
  const root = await temporaryFolder();
  await mkdir(join(root, 'a'));
  const passed = recordPoints();
  await makeFolder('ref', join(root, 'a/b/c'));
  expect(existsSync(join(root, 'a/b/c'))).toBe(true);
  const synced = passed.filter(({ point }) => point === 'ref.fsync-folder').map(({ path }) => path);
  expect(synced).toEqual([join(root, 'a/b'), join(root, 'a')]);
});

test('makeFolder does nothing when the folder is there', async () => {
  const root = await temporaryFolder();
  const passed = recordPoints();
  await makeFolder('ref', root);
  expect(passed).toEqual([]);
});

test('makeFolder throws IO naming the folder when a file is in the way', async () => {
  const root = await temporaryFolder();
  await writeFile(join(root, 'a'), '');
  await expect(makeFolder('ref', join(root, 'a/b'))).rejects.toMatchObject({
    code: 'IO',
    message: expect.stringContaining(join(root, 'a/b')),
  });
});

test('makeInFolder makes the folder again when another process removes it', async () => {
  const path = join(await temporaryFolder(), 'a/b');
  let tries = 0;
  await makeInFolder('ref', path, async () => {
    if (++tries < 3) rmSync(join(path, '..'), { recursive: true });
    await writeFile(path, 'x');
  });
  expect(tries).toBe(3);
  expect(existsSync(path)).toBe(true);
});

test('makeInFolder hands on any other failure at once', async () => {
  const path = join(await temporaryFolder(), 'a/b');
  let tries = 0;
  const work = makeInFolder('ref', path, async () => {
    tries++;
    throw noSpace();
  });
  await expect(work).rejects.toMatchObject({ code: 'IO' });
  expect(tries).toBe(1);
});
