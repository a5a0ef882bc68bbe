import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { packStore } from '../../../store/index.ts';
import { removeLeftBehind } from '../../../store/objects/left-behind.ts';
import { deadSuffix } from '../../files/dead.ts';
import { listFiles, newStore } from '../new-store.ts';

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
