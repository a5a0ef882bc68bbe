import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { PackWriter } from '../../pack/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { recordPoints } from '../files/fault.ts';
import { filesBelow } from '../files/names.ts';
import { sampleObjects } from './pack-objects.ts';

test('PendingPack.has knows its objects before it is published', async () => {
  const writer = await PackWriter.create(await temporaryFolder());
  const [first, ...others] = sampleObjects();
  for (const object of others) await writer.add(object);
  const pending = await writer.finish();
  for (const { id } of others) expect(pending.has(id)).toBe(true);
  expect(pending.has(first!.id)).toBe(false);
  await pending.discard();
});

test('PendingPack.has is false and reads no closed file when the pack is published', async () => {
  const writer = await PackWriter.create(await temporaryFolder());
  const objects = sampleObjects();
  for (const object of objects) await writer.add(object);
  const pending = await writer.finish();
  await pending.publish();
  expect(objects.map(({ id }) => pending.has(id))).toEqual(objects.map(() => false));
});

test('PendingPack shows nothing before it is published, and gives the index its name last', async () => {
  const folder = await temporaryFolder();
  const writer = await PackWriter.create(folder);
  for (const object of sampleObjects()) await writer.add(object);
  const pending = await writer.finish();
  expect(filesBelow(folder).every((name) => name.startsWith('tmp_'))).toBe(true);
  const passed = recordPoints();
  const stem = await pending.publish();
  expect(passed).toEqual([
    { point: 'pack.rename', path: `${stem}.pack` },
    { point: 'rev.rename', path: `${stem}.rev` },
    { point: 'idx.rename', path: `${stem}.idx` },
    { point: 'pack.fsync-folder', path: folder },
  ]);
  expect(filesBelow(folder)).toEqual(['idx', 'pack', 'rev'].map((ending) => `${basename(stem)}.${ending}`));
});

test('PendingPack.discard leaves no file', async () => {
  const folder = await temporaryFolder();
  const pending = await (await PackWriter.create(folder)).finish();
  expect(filesBelow(folder)).toHaveLength(3);
  await pending.discard();
  expect(filesBelow(folder)).toEqual([]);
});
