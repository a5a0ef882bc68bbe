import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type FileIdentity, fileIdentity, sameIdentity } from '../../block/index.ts';
import { temporaryFolder } from './temporary-folder.ts';

const ONE: FileIdentity = { path: '/a', inode: '1:2', size: 3, mtimeNs: '4', ctimeNs: '5' };

test('sameIdentity is true when every part is equal', () => {
  expect(sameIdentity(ONE, { ...ONE })).toBe(true);
});

test.each([{ path: '/b' }, { inode: '1:3' }, { size: 4 }, { mtimeNs: '5' }, { ctimeNs: '6' }])(
  'sameIdentity is false when one part differs: %o',
  (change) => {
    expect(sameIdentity(ONE, { ...ONE, ...change })).toBe(false);
  },
);

test('fileIdentity keeps nanoseconds exact and survives JSON', async () => {
  const path = join(await temporaryFolder(), 'file');
  writeFileSync(path, 'four');
  const stats = statSync(path, { bigint: true });
  const identity = fileIdentity(path, stats);
  expect(identity).toEqual({
    path,
    inode: `${stats.dev}:${stats.ino}`,
    size: 4,
    mtimeNs: stats.mtimeNs.toString(),
    ctimeNs: stats.ctimeNs.toString(),
  });
  expect(sameIdentity(identity, JSON.parse(JSON.stringify(identity)) as FileIdentity)).toBe(true);
});
