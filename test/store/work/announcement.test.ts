import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { encodeOwner, thisProcess } from '../../../files/index.ts';
import { Announcement, listWork } from '../../../store/work/announcement.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';

const ID = 'ab'.repeat(32);

test('listWork tells what processes are doing until they take it back', async () => {
  const folder = await temporaryFolder();
  expect(listWork(folder)).toEqual([]);
  const writer = Announcement.make(folder, {}, 'writes');
  const reader = Announcement.make(folder, {}, 'reads', [ID]);
  expect(listWork(folder)).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ writes: true, roots: [], sinceMs: writer.sinceMs }),
      expect.objectContaining({ writes: false, roots: [ID], sinceMs: reader.sinceMs }),
    ]),
  );
  expect(writer.now()).toBeGreaterThan(writer.sinceMs);
  writer.withdraw();
  reader.withdraw();
  reader.withdraw();
  expect(readdirSync(join(folder, 'imgstore/work'))).toEqual([]);
});

test('listWork removes what dead processes have left behind, and keeps that of other machines', async () => {
  const folder = await temporaryFolder();
  const work = join(folder, 'imgstore/work');
  mkdirSync(work, { recursive: true });
  const dead = { ...thisProcess(), pid: spawnSync('true').pid };
  writeFileSync(join(work, 'dead'), `${encodeOwner(dead)}writes\n`);
  writeFileSync(
    join(work, 'elsewhere'),
    `${encodeOwner({ ...dead, host: 'elsewhere' })}writes\n${ID}\nnonsense\n`,
  );
  expect(listWork(folder)).toMatchObject([{ writes: true, roots: [ID] }]);
  expect(readdirSync(work)).toEqual(['elsewhere']);
});

test('listWork takes a file that says nothing for work that has just begun, and for nothing when it is old', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'imgstore/work/empty');
  mkdirSync(join(folder, 'imgstore/work'), { recursive: true });
  writeFileSync(path, '');
  expect(listWork(folder)).toMatchObject([{ writes: true }]);
  utimesSync(path, 1, 1);
  expect(listWork(folder)).toEqual([]);
});
