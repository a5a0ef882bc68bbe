import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import {
  LooseBatch,
  LooseObjects,
  looseFromDeflated,
  nodeDeflate,
  objectId,
} from '../../../objects/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { failAtEach, recordPoints } from '../../files/fault.ts';
import { filesBelow } from '../../files/names.ts';
import { mixed } from '../noise.ts';

/** Files of some objects, in several folders. */
function objects(count: number, seed = 0) {
  return Array.from({ length: count }, (_, i) => {
    const data = mixed(1000 + i, seed + i);
    return {
      id: objectId('blob', data),
      data,
      file: looseFromDeflated('blob', data.length, nodeDeflate.deflate(data, 1)),
    };
  });
}

async function newBatch(): Promise<{ loose: LooseObjects; batch: LooseBatch }> {
  const loose = new LooseObjects(await temporaryFolder());
  return { loose, batch: new LooseBatch(loose) };
}

test('LooseBatch shows nothing before it is published, and everything after', async () => {
  const { loose, batch } = await newBatch();
  const all = objects(40);
  await batch.write(all);
  expect([...loose.ids()]).toEqual([]);
  for (const { id } of all) expect(loose.has(id)).toBe(false);
  await batch.publish();
  expect([...loose.ids()]).toEqual(all.map(({ id }) => id).sort());
  for (const { id, data } of all) expect(Buffer.compare(loose.read(id)!.data, data)).toBe(0);
  expect(filesBelow(loose.folder)).toHaveLength(all.length);
});

test('LooseBatch.discard leaves no file', async () => {
  const { loose, batch } = await newBatch();
  await batch.write(objects(20));
  expect(filesBelow(loose.folder)).toHaveLength(20);
  await batch.discard();
  expect(filesBelow(loose.folder)).toEqual([]);
  await batch.publish();
  expect(filesBelow(loose.folder)).toEqual([]);
});

test('LooseBatch.discard keeps what was published', async () => {
  const { loose, batch } = await newBatch();
  await batch.write(objects(3));
  await batch.publish();
  await batch.write(objects(3, 100));
  await batch.discard();
  expect(filesBelow(loose.folder)).toHaveLength(3);
});

test('LooseBatch.publish keeps the file that is there when two batches store one object', async () => {
  const { loose, batch } = await newBatch();
  const other = new LooseBatch(loose);
  const all = objects(5);
  await batch.write(all);
  await other.write(all);
  await batch.publish();
  const before = all.map(({ id }) => statSync(loose.path(id)).ino);
  await other.publish();
  expect(all.map(({ id }) => statSync(loose.path(id)).ino)).toEqual(before);
  expect(filesBelow(loose.folder)).toHaveLength(5);
});

test('LooseBatch.publish stores an object once when one batch has it twice', async () => {
  const { loose, batch } = await newBatch();
  const [one] = objects(1);
  await batch.write([one!, one!]);
  await batch.publish();
  expect(filesBelow(loose.folder)).toHaveLength(1);
  expect(loose.read(one!.id)).toBeDefined();
});

test('LooseBatch makes files that nobody may write to', async () => {
  const { loose, batch } = await newBatch();
  const [one] = objects(1);
  await batch.write([one!]);
  await batch.publish();
  expect(statSync(loose.path(one!.id)).mode & 0o777).toBe(0o444 & ~process.umask());
});

test('LooseBatch fsyncs every file before the first rename, and every folder after the last', async () => {
  const { loose, batch } = await newBatch();
  const all = objects(10);
  const passed = recordPoints();
  await batch.write(all);
  const folders = new Set(all.map(({ id }) => join(loose.folder, id.slice(0, 2))));
  const ofFiles = passed.filter(({ path }) => !folders.has(path));
  expect(passed.length - ofFiles.length).toBe(folders.size);
  expect(ofFiles.map(({ point }) => point).sort()).toEqual([
    ...Array<string>(10).fill('loose.create'),
    ...Array<string>(10).fill('loose.fsync'),
    ...Array<string>(10).fill('loose.write'),
  ]);
  passed.length = 0;
  await batch.publish();
  expect(passed.slice(0, 10).map(({ point }) => point)).toEqual(Array<string>(10).fill('loose.rename'));
  const synced = passed.slice(10);
  expect(new Set(synced.map(({ point }) => point))).toEqual(new Set(['loose.fsync-folder']));
  expect(synced.map(({ path }) => path).sort()).toEqual([loose.folder, ...folders].sort());
});

test('LooseBatch leaves no temporary file when the disk is full at any point', async () => {
  const loose = new LooseObjects(await temporaryFolder());
  const all = objects(12);
  const failed = await failAtEach(
    async () => {
      const batch = new LooseBatch(loose);
      try {
        await batch.write(all);
        await batch.publish();
      } catch (error) {
        await batch.discard();
        throw error;
      }
    },
    (error, point) => {
      expect(error, point).toMatchObject({ code: 'IO', message: expect.stringContaining('no space left') });
      const names = filesBelow(loose.folder);
      expect(names.filter((name) => name.includes('tmp_'))).toEqual([]);
      if (!/rename|fsync-folder/.test(point)) expect(names).toEqual([]);
      for (const id of loose.ids()) expect(loose.read(id)).toBeDefined();
      for (const { id } of all) rmSync(loose.path(id), { force: true });
    },
  );
  expect(new Set(failed)).toEqual(
    new Set(['loose.create', 'loose.write', 'loose.fsync', 'loose.rename', 'loose.fsync-folder']),
  );
  expect(filesBelow(loose.folder)).toHaveLength(all.length);
});

test('LooseBatch.write throws IO naming the folder when it cannot be made', async () => {
  const { loose, batch } = await newBatch();
  const [one] = objects(1);
  const folder = join(loose.folder, one!.id.slice(0, 2));
  writeFileSync(folder, 'a file in its place');
  await expect(batch.write([one!])).rejects.toMatchObject({
    code: 'IO',
    message: expect.stringContaining(folder),
  });
  await batch.discard();
  expect(filesBelow(loose.folder)).toEqual([one!.id.slice(0, 2)]);
});

test('LooseBatch.discard removes the folders that it made, and no others', async () => {
  const { loose, batch } = await newBatch();
  const all = objects(6);
  const [first] = all;
  mkdirSync(dirname(loose.path(first!.id)), { recursive: true });
  await batch.write(all);
  await batch.discard();
  expect(readdirSync(loose.folder)).toEqual([first!.id.slice(0, 2)]);
});

test('LooseBatch.discard keeps a folder in which another process has put an object', async () => {
  const { loose, batch } = await newBatch();
  const [one] = objects(1);
  await batch.write([one!]);
  writeFileSync(loose.path(one!.id), one!.file);
  await batch.discard();
  expect(loose.read(one!.id)).toBeDefined();
});

test.each([
  ['cut short', (file: Buffer) => file.subarray(0, -20)],
  ['empty', () => Buffer.alloc(0)],
  ['of another object', () => objects(1, 99)[0]!.file],
])('LooseBatch.publish replaces a file in the way that is %s', async (_, damage) => {
  const { loose, batch } = await newBatch();
  const [one] = objects(1);
  await batch.write([one!]);
  writeFileSync(loose.path(one!.id), damage(one!.file), { mode: 0o444 });
  await batch.publish();
  expect(Buffer.compare(loose.read(one!.id)!.data, one!.data)).toBe(0);
  expect(filesBelow(loose.folder)).toHaveLength(1);
});
