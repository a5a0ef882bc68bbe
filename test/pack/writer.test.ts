import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Pack, PackWriter } from '../../pack/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { failAtEach, recordPoints } from '../files/fault.ts';
import { filesBelow } from '../files/names.ts';
import { GitRepository } from '../objects/git.ts';
import { noise } from '../objects/noise.ts';
import { sampleObject, sampleObjects, writePack } from './pack-objects.ts';

test('PackWriter makes packs that git accepts and reads', async () => {
  const repository = GitRepository.create();
  const objects = sampleObjects();
  const stem = await writePack(repository.packs, objects);
  repository.git(['index-pack', '--strict', '-o', `${repository.folder}/check.idx`, `${stem}.pack`]);
  const listing = repository.git(['verify-pack', '-v', `${stem}.idx`]);
  for (const { id, type, size, data } of objects) {
    expect(listing).toMatch(new RegExp(`^${id} ${type} +${size} `, 'm'));
    expect(repository.data(type, id).equals(data)).toBe(true);
  }
  repository.fsck();
});

test('PackWriter makes a pack of nothing that git accepts', async () => {
  const repository = GitRepository.create();
  const stem = await writePack(repository.packs, []);
  repository.git(['verify-pack', `${stem}.idx`]);
  repository.fsck();
});

test('PackWriter makes what Pack reads', async () => {
  const objects = sampleObjects();
  const pack = new Pack(await writePack(await temporaryFolder(), objects));
  onTestFinished(() => pack.close());
  for (const { id, type, size, data } of objects) {
    const position = pack.idx.find(id)!;
    expect(pack.header(position)).toEqual({ type, size });
    const object = pack.read(position);
    expect(object.type).toBe(type);
    expect(Buffer.compare(object.data, data)).toBe(0);
  }
});

test('PackWriter copies what is added, so that its memory may be used again', async () => {
  const writer = await PackWriter.create(await temporaryFolder());
  const objects = Array.from({ length: 50 }, (_, i) => sampleObject('blob', noise(10_000, i)));
  for (const object of objects) {
    const deflated = Buffer.from(object.deflated);
    await writer.add({ ...object, deflated });
    deflated.fill(0xee);
  }
  const pack = new Pack(await (await writer.finish()).publish());
  onTestFinished(() => pack.close());
  for (const { id, data } of objects)
    expect(Buffer.compare(pack.read(pack.idx.find(id)!).data, data)).toBe(0);
});

test('PackWriter takes an object that is larger than what it gathers', async () => {
  const object = sampleObject('blob', noise(9 * 2 ** 20, 1), 0);
  const pack = new Pack(
    await writePack(await temporaryFolder(), [sampleObject('blob', noise(9, 1)), object]),
  );
  onTestFinished(() => pack.close());
  expect(Buffer.compare(pack.read(pack.idx.find(object.id)!).data, object.data)).toBe(0);
});

test('PackWriter counts objects and bytes', async () => {
  const folder = await temporaryFolder();
  const writer = await PackWriter.create(folder);
  expect([writer.count, writer.bytes]).toEqual([0, 12]);
  for (const object of sampleObjects()) await writer.add(object);
  expect(writer.count).toBe(sampleObjects().length);
  const before = writer.bytes;
  const pending = await writer.finish();
  const stem = await pending.publish();
  const sizes = ['pack', 'rev', 'idx'].map((ending) => statSync(`${stem}.${ending}`).size);
  expect(sizes[0]).toBe(before + 32);
  expect(pending.fileBytes).toBe(sizes.reduce((sum, size) => sum + size));
  expect(basename(stem)).toBe(`pack-${pending.checksum}`);
});

test('PackWriter makes files that nobody may write to', async () => {
  const stem = await writePack(await temporaryFolder(), sampleObjects());
  for (const ending of ['pack', 'idx', 'rev'])
    expect(statSync(`${stem}.${ending}`).mode & 0o777).toBe(0o444 & ~process.umask());
});

test('PackWriter fsyncs every file before it is finished', async () => {
  const passed = recordPoints();
  const pending = await (await PackWriter.create(await temporaryFolder())).finish();
  for (const kind of ['pack', 'rev', 'idx']) {
    const points = passed.map(({ point }) => point).filter((point) => point.startsWith(`${kind}.`));
    expect(points[0]).toBe(`${kind}.create`);
    expect(points.at(-1)).toBe(`${kind}.fsync`);
  }
  await pending.discard();
});

test('PackWriter.discard leaves no file', async () => {
  const folder = await temporaryFolder();
  const writer = await PackWriter.create(folder);
  await writer.add(sampleObject('blob', noise(10, 1)));
  await writer.discard();
  expect(filesBelow(folder)).toEqual([]);
});

test('PackWriter leaves no temporary file and no index when the disk is full at any point', async () => {
  const folder = await temporaryFolder();
  const objects = [sampleObject('blob', noise(5 * 2 ** 20, 1), 0), sampleObject('blob', noise(10, 1))];
  const failed = await failAtEach(
    async () => {
      const writer = await PackWriter.create(folder);
      try {
        for (const object of objects) await writer.add(object);
        const pending = await writer.finish();
        try {
          await pending.publish();
        } catch (error) {
          await pending.discard();
          throw error;
        }
      } catch (error) {
        await writer.discard();
        throw error;
      }
    },
    (error, point) => {
      expect(error, point).toMatchObject({ code: 'IO', message: expect.stringContaining('no space left') });
      const names = filesBelow(folder);
      expect(names.filter((name) => name.startsWith('tmp_'))).toEqual([]);
      if (point !== 'pack.fsync-folder') expect(names.filter((name) => name.endsWith('.idx'))).toEqual([]);
      if (!/rename|fsync-folder/.test(point)) expect(names).toEqual([]);
    },
  );
  const actions = ['create', 'write', 'fsync', 'rename'];
  const expected = ['pack', 'rev', 'idx'].flatMap((kind) => actions.map((action) => `${kind}.${action}`));
  expect([...new Set(failed)].sort()).toEqual([...expected, 'pack.fsync-folder'].sort());
});

test('PackWriter gives the same pack when the same objects come twice, and publishes over it', async () => {
  const folder = await temporaryFolder();
  const first = await writePack(folder, sampleObjects());
  expect(await writePack(folder, sampleObjects())).toBe(first);
  expect(filesBelow(folder)).toHaveLength(3);
});
