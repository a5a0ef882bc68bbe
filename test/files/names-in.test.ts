import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { namesIn } from '../../files/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';

test('namesIn has the names of what is in a folder, and none when it is not there', async () => {
  const folder = await temporaryFolder();
  expect(namesIn(folder)).toEqual([]);
  for (const name of ['b', 'a']) writeFileSync(join(folder, name), '');
  expect(namesIn(folder).sort()).toEqual(['a', 'b']);
  expect(namesIn(join(folder, 'nowhere'))).toEqual([]);
});

test('namesIn fails for what is no folder, unless that is to be passed over', async () => {
  const file = join(await temporaryFolder(), 'file');
  writeFileSync(file, '');
  expect(() => namesIn(file)).toThrow(expect.objectContaining({ code: 'IO' }));
  expect(namesIn(file, new Set(['ENOTDIR']))).toEqual([]);
});
