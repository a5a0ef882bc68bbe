import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PendingFile, removeLeftBehindIn } from '../../files/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { deadSuffix } from './dead.ts';

test('removeLeftBehindIn removes files and folders of dead processes, and leaves all others', async () => {
  const folder = await temporaryFolder();
  const [file, made] = [`tmp_pack${deadSuffix()}`, `tmp_folder${deadSuffix()}`];
  const alive = await PendingFile.create('pack', folder);
  mkdirSync(join(folder, made, 'below'), { recursive: true });
  const others = [`other_pack${deadSuffix()}`, 'tmp_pack_Xy12ab', `tmp_idx${deadSuffix()}.keep`];
  for (const name of [file, ...others, join(made, 'below', 'file')]) writeFileSync(join(folder, name), '');
  const removed = await removeLeftBehindIn('pack', folder, 'tmp_');
  expect(removed.sort()).toEqual([join(folder, file), join(folder, made)].sort());
  for (const name of others) expect(readdirSync(folder)).toContain(name);
  expect(existsSync(alive.path)).toBe(true);
  await alive.discard();
});

test('removeLeftBehindIn finds nothing when there is no folder', async () => {
  expect(await removeLeftBehindIn('pack', join(await temporaryFolder(), 'none'), '')).toEqual([]);
});
