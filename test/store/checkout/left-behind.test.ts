import { readdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import { checkoutVersion } from '../../../store/index.ts';
import { deadSuffix } from '../../files/dead.ts';
import { diskOf } from '../disks.ts';
import { commitBytes, newStore } from '../new-store.ts';

test('checkoutVersion removes what a killed checkout of the same file left, and of no other', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2]));
  const other = `.other.qcow2.tmp_checkout${deadSuffix()}`;
  for (const name of [other, `.out.qcow2.tmp_checkout${deadSuffix()}`]) writeFileSync(made.file(name), '');
  const output = made.file('out.qcow2');
  await checkoutVersion(made.store, { revision: 'web', output });
  expect(readdirSync(dirname(output)).sort()).toEqual(['.imgstore', other, 'out.qcow2', 'web.raw'].sort());
});

test.each([
  ['letters', 'a'],
  ['characters of four bytes', '💾'],
])('checkoutVersion finds a temporary name beside the longest name of %s', async (_, letter) => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2]));
  const output = made.file(letter.repeat(Math.floor(255 / Buffer.byteLength(letter))));
  const dead: string[] = [];
  const stop = watchPoints((point, path) => {
    if (point === 'checkout.create') dead.push(path.replace(`-${process.pid}-`, '-999999999-'));
  });
  await checkoutVersion(made.store, { revision: 'web', output });
  writeFileSync(dead[0]!, '');
  await checkoutVersion(made.store, { revision: 'web', output, force: true });
  stop();
  expect(readdirSync(dirname(output)).filter((name) => name.includes('tmp_'))).toEqual([]);
});
