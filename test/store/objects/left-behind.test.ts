import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { packStore } from '../../../store/index.ts';
import { removeLeftBehind } from '../../../store/objects/left-behind.ts';
import { deadLock, deadSuffix } from '../../files/dead.ts';
import { diskOf } from '../disks.ts';
import { gitFsck } from '../git.ts';
import { commitBytes, listFiles, newStore } from '../new-store.ts';

function leave(store: string, names: readonly string[]): void {
  for (const name of names) {
    mkdirSync(dirname(join(store, name)), { recursive: true });
    writeFileSync(join(store, name), 'left');
  }
}

test('removeLeftBehind removes what dead processes left of packs and loose objects, and folders empty then', async () => {
  const made = await newStore();
  const dead = [
    `objects/pack/tmp_pack${deadSuffix()}`,
    `objects/pack/tmp_midx${deadSuffix()}`,
    `objects/ab/tmp_obj_loose${deadSuffix()}`,
  ];
  leave(made.path, [...dead, 'objects/pack/tmp_pack_Xy12ab', 'objects/cd/tmp_obj_Xy12ab']);
  const before = listFiles(made.path);
  const removed = await removeLeftBehind(made.store.objects);
  expect(removed.sort()).toEqual(dead.map((name) => join(made.path, name)).sort());
  expect(listFiles(made.path)).toEqual(before.filter((name) => !dead.includes(name)));
  expect(readdirSync(join(made.path, 'objects'))).not.toContain('ab');
});

test('packStore removes the temporary files of a process that was killed', async () => {
  const made = await newStore();
  leave(made.path, [`objects/pack/tmp_pack${deadSuffix()}`, `objects/ab/tmp_obj_loose${deadSuffix()}`]);
  await packStore(made.store);
  expect(listFiles(made.path).filter((name) => name.includes('tmp_'))).toEqual([]);
});

test('removeLeftBehind removes locks of dead processes and what lay beside them, and no others', async () => {
  const made = await newStore();
  await commitBytes(made, 'a/web', diskOf([1]));
  const temporary = [`refs/heads/a/.tmp_ref${deadSuffix()}.lock`, `imgstore/tmp_sweeps${deadSuffix()}`];
  leave(made.path, [...temporary, 'HEAD.lock', 'refs/heads/git.lock']);
  for (const name of ['refs/heads/a/web.lock', `logs/refs/heads/.${'a'.repeat(32)}.lock`])
    writeFileSync(join(made.path, name), deadLock());
  const removed = await removeLeftBehind(made.store.objects);
  expect(removed.sort()).toEqual(temporary.map((name) => join(made.path, name)).sort());
  const left = listFiles(made.path).filter((name) => /\.lock$|tmp_/.test(name));
  expect(left).toEqual(['HEAD.lock', 'refs/heads/git.lock']);
  await gitFsck(made.path);
});
