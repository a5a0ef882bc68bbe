import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SketchIndex } from '../../../store/pack/sketch-index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';

const FEATURES = [1, -1, 77];
const NOTHING = [[], [], []];

async function openIn(folder: string): Promise<SketchIndex> {
  return SketchIndex.open(join(folder, 'sketches'));
}

test('SketchIndex finds objects by each of their features, the latest last, also when it was opened again', async () => {
  const folder = await temporaryFolder();
  const index = await openIn(folder);
  await index.add(2 ** 48 - 1, FEATURES, NOTHING);
  await index.add(5, [77], [[]]);
  const expected = [[2 ** 48 - 1], [2 ** 48 - 1], [2 ** 48 - 1, 5], []];
  expect(await index.find([...FEATURES, 3])).toEqual(expected);
  await index.replacePacks([], []);
  await index.close();
  const again = await openIn(folder);
  expect(await again.find([...FEATURES, 3])).toEqual(expected);
  await again.close();
});

test('SketchIndex keeps the latest four objects of a feature, each once', async () => {
  const index = await openIn(await temporaryFolder());
  for (const ref of [1, 2, 3, 4, 5, 3]) await index.add(ref, [9], await index.find([9]));
  expect(await index.find([9])).toEqual([[2, 4, 5, 3]]);
  await index.close();
});

test('SketchIndex knows the packs that were noted, and forgets those that are gone', async () => {
  const folder = await temporaryFolder();
  const index = await openIn(folder);
  await index.replacePacks(['aa', 'bb'], []);
  await index.replacePacks(['cc'], ['aa']);
  await index.close();
  const again = await openIn(folder);
  expect(['aa', 'bb', 'cc'].map((pack) => again.knowsPack(pack))).toEqual([false, true, true]);
  await again.close();
});

test('SketchIndex lives in memory when another has the database open', async () => {
  const folder = await temporaryFolder();
  const first = await openIn(folder);
  const second = await openIn(folder);
  await second.add(1, [9], [[]]);
  await second.replacePacks(['aa'], []);
  expect(await second.find([9])).toEqual([[1]]);
  await second.close();
  expect(await first.find([9])).toEqual([[]]);
  await first.close();
});

test('SketchIndex begins anew when its files are damaged', async () => {
  const folder = await temporaryFolder();
  const index = await openIn(folder);
  await index.add(1, [9], [[]]);
  await index.replacePacks(['aa'], []);
  await index.close();
  for (const name of readdirSync(join(folder, 'sketches')))
    writeFileSync(join(folder, 'sketches', name), 'damaged');
  const again = await openIn(folder);
  expect(again.knowsPack('aa')).toBe(false);
  await again.add(2, [9], await again.find([9]));
  await again.replacePacks(['bb'], []);
  await again.close();
  const last = await openIn(folder);
  expect(await last.find([9])).toEqual([[2]]);
  await last.close();
});

test('SketchIndex goes on in memory, and begins anew the next time, when blocks of its tables are damaged', async () => {
  const folder = await temporaryFolder();
  const index = await openIn(folder);
  const features = Array.from({ length: 20_000 }, (_, i) => Math.imul(i, 0x9e3779b1));
  await index.add(1, features, Array<number[]>(features.length).fill([]));
  await index.replacePacks(['aa'], []);
  await index.close();
  // Opening it moves what was written from its log into a table.
  await (await openIn(folder)).close();
  const tables = readdirSync(join(folder, 'sketches')).filter((name) => name.endsWith('.ldb'));
  expect(tables).not.toEqual([]);
  for (const name of tables) {
    const path = join(folder, 'sketches', name);
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.fill(0x55, 0, bytes.length >> 1));
  }
  const again = await openIn(folder);
  await again.find(features);
  await again.add(2, [9], await again.find([9]));
  expect(await again.find([9])).toEqual([[2]]);
  await again.replacePacks(['bb'], ['aa']);
  await again.close();
  const last = await openIn(folder);
  expect(['aa', 'bb'].map((pack) => last.knowsPack(pack))).toEqual([false, false]);
  await last.close();
});
