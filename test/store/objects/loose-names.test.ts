import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { LooseObjects, type ObjectId } from '../../../objects/index.ts';
import { LooseNames } from '../../../store/objects/loose-names.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';

const id = (folder: string, number: number): ObjectId =>
  (folder + number.toString(16).padStart(62, '0')) as ObjectId;

test('LooseNames says for each object whether it may be loose, before its folder is listed and after', async () => {
  const loose = new LooseObjects(await temporaryFolder());
  const there = Array.from({ length: 30 }, (_, i) => id('ab', 2 * i));
  for (const each of there) {
    mkdirSync(dirname(loose.path(each)), { recursive: true });
    writeFileSync(loose.path(each), 'x');
  }
  const names = new LooseNames(loose);
  expect(there.every((each) => names.mayHave(each))).toBe(true);
  const absent = Array.from({ length: 30 }, (_, i) => id('ab', 2 * i + 1));
  expect(absent.filter((each) => names.mayHave(each))).toEqual([]);
  expect(names.mayHave(id('cd', 1))).toBe(false);
});
