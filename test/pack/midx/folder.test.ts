import { execSync } from 'node:child_process';
import { readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { MIDX_FILE, PackFolder, removeMidx } from '../../../pack/index.ts';
import { ObjectDatabase } from '../../../store/objects/database.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { GitRepository } from '../../objects/git.ts';
import { type SampleObject, sampleObject, writePack } from '../pack-objects.ts';
import { coverAll, objectsOf, openFiles, writePacks } from './many-packs.ts';

interface Opened {
  readonly packs: PackFolder;
  readonly notices: string[];
}

function open(folder: string): Opened {
  const notices: string[] = [];
  const packs = new PackFolder(folder, (notice) => notices.push(notice));
  onTestFinished(() => packs.close());
  return { packs, notices };
}

/** A folder with some packs and a multi-pack-index over them, opened anew. */
async function covered(count: number): Promise<Opened & { folder: string; objects: SampleObject[] }> {
  const folder = await temporaryFolder();
  const objects = await writePacks(folder, 0, count);
  await coverAll(folder);
  return { folder, objects, ...open(folder) };
}

const midxOf = (folder: string) => join(folder, MIDX_FILE);
const stemOf = (packs: PackFolder, { id }: SampleObject) => packs.find(id)!.pack.stem;
const absent = sampleObject('blob', Buffer.from('absent'));

/** Changes a file that is read-only, as another file of the same name. */
function patch(path: string, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(path);
  change(bytes);
  rmSync(path);
  writeFileSync(path, bytes);
}

function expectAll(packs: PackFolder, objects: readonly SampleObject[]): void {
  for (const { id, data, size } of objects) {
    expect(packs.has(id)).toBe(true);
    expect(packs.header(id)).toEqual({ type: 'blob', size });
    expect(Buffer.compare(packs.read(id)!.data, data)).toBe(0);
  }
}

test('PackFolder opens the multi-pack-index and one pack, and no other index, to read an object of 200 packs', async () => {
  const { folder, packs, notices } = await covered(200);
  expect(openFiles(folder)).toEqual([]);
  expect(packs.has(absent.id)).toBe(false);
  expect(openFiles(folder)).toEqual([MIDX_FILE]);
  const [object] = objectsOf(77);
  expectAll(packs, [object!]);
  const name = stemOf(packs, object!).slice(folder.length + 1);
  expect(openFiles(folder)).toEqual([MIDX_FILE, `${name}.pack`]);
  expect(packs.find(object!.id)!.pack.streamsAt(packs.find(object!.id)!.offset).deltas).toEqual([]);
  expect([...packs.idsWithPrefix(object!.id.slice(0, 12))]).toEqual([object!.id]);
  expect(openFiles(folder).filter((each) => each.endsWith('.idx'))).toEqual([]);
  expect(notices).toEqual([]);
});

test('PackFolder finds what is in packs that came after the multi-pack-index', async () => {
  const { folder, packs, objects } = await covered(3);
  expectAll(packs, objects);
  const later = await writePacks(folder, 3, 5);
  expect(packs.has(later[0]!.id)).toBe(false);
  expect(packs.refresh()).toBe(true);
  expectAll(packs, [...objects, ...later]);
  expect(packs.refresh()).toBe(false);
  expect(openFiles(folder).filter((name) => name.endsWith('.idx'))).toHaveLength(2);
  expect([...packs.idsWithPrefix('')].sort()).toEqual([...objects, ...later].map(({ id }) => id).sort());
  expect(packs.covered()).toHaveLength(3);
  expect(packs.packs()).toHaveLength(5);
});

test('PackFolder.refresh takes in a multi-pack-index that came, was replaced and went', async () => {
  const folder = await temporaryFolder();
  const objects = await writePacks(folder, 0, 3);
  const { packs, notices } = open(folder);
  expectAll(packs, objects);
  expect(packs.covered()).toEqual([]);
  await coverAll(folder);
  expect(packs.refresh()).toBe(false);
  expect(packs.covered()).toHaveLength(3);
  const more = await writePacks(folder, 3, 4);
  await coverAll(folder);
  expect(packs.refresh()).toBe(true);
  expect(packs.covered()).toHaveLength(4);
  expectAll(packs, [...objects, ...more]);
  await removeMidx(folder);
  expect(packs.refresh()).toBe(false);
  expect(packs.covered()).toEqual([]);
  expectAll(packs, [...objects, ...more]);
  expect(notices).toEqual([]);
});

test('PackFolder reads on from covered packs that were removed after it opened them', async () => {
  const { folder, packs, objects } = await covered(3);
  const places = objects.map(({ id }) => packs.find(id)!);
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
  expect(packs.refresh()).toBe(false);
  expect(packs.packs()).toEqual([]);
  for (const [i, { id, data }] of objects.entries()) {
    expect(packs.has(id)).toBe(false);
    expect(Buffer.compare(places[i]!.pack.readAt(places[i]!.offset, id).data, data)).toBe(0);
  }
});

test('PackFolder leaves a multi-pack-index unused, without a notice, that names a pack which is gone', async () => {
  const { folder, packs, objects, notices } = await covered(3);
  const gone = new Set(objectsOf(1).map(({ id }) => id));
  const stem = stemOf(packs, objectsOf(1)[0]!);
  for (const ending of ['pack', 'idx', 'rev']) rmSync(`${stem}.${ending}`);
  packs.refresh();
  expect(packs.covered()).toEqual([]);
  expectAll(
    packs,
    objects.filter(({ id }) => !gone.has(id)),
  );
  for (const id of gone) expect(packs.has(id)).toBe(false);
  expect(notices).toEqual([]);
  // Put back, it is whole again.
  await writePack(folder, objectsOf(1));
  expect(packs.refresh()).toBe(true);
  expect(packs.covered()).toHaveLength(3);
  expectAll(packs, objects);
});

test('ObjectDatabase finds what moved to a new pack since the multi-pack-index was read', async () => {
  const repository = GitRepository.create();
  const objects = await writePacks(repository.packs, 0, 4);
  await coverAll(repository.packs);
  const notices: string[] = [];
  const database = new ObjectDatabase(repository.objects, (notice) => notices.push(notice));
  onTestFinished(() => database.close());
  expect(database.has(objects[0]!.id)).toBe(true);
  for (const { id } of objects) repository.git(['tag', id.slice(0, 8), id]);
  repository.git(['repack', '-adq']);
  expect(readdirSync(repository.packs)).not.toContain(MIDX_FILE);
  for (const { id, data } of objects) expect(Buffer.compare(database.read(id).data, data)).toBe(0);
  expect(notices).toEqual([]);
});

test('ObjectDatabase reads a delta whose pack went before its base was looked up in its index', async () => {
  const repository = GitRepository.create();
  const base = Buffer.alloc(20_000, 'some text that comes again and again, ');
  const ids = ['a', 'b', 'c'].map((end) => repository.store('blob', Buffer.concat([base, Buffer.from(end)])));
  // Bases by id, as a server sends them.
  repository.git(['pack-objects', '-q', 'objects/pack/pack'], ids.join('\n'));
  repository.git(['prune-packed', '-q']);
  for (const id of ids) repository.git(['tag', id.slice(0, 8), id]);
  await writePacks(repository.packs, 0, 1);
  await coverAll(repository.packs);
  const database = new ObjectDatabase(repository.objects);
  onTestFinished(() => database.close());
  for (const id of ids) expect(database.has(id)).toBe(true);
  repository.git(['repack', '-adqF']);
  for (const id of ids) expect(database.read(id).data.length).toBe(base.length + 1);
});

const DAMAGE: readonly [name: string, damage: (path: string) => void][] = [
  ['is empty', (path) => patchTo(path, 0)],
  ['is cut short', (path) => patchTo(path, 1200)],
  ['has another signature', (path) => patch(path, (bytes) => bytes.write('XIDM'))],
  ['is of another version', (path) => patch(path, (bytes) => bytes.writeUInt8(2, 4))],
  ['builds on another', (path) => patch(path, (bytes) => bytes.writeUInt8(1, 7))],
  ['names a file above', (path) => patch(path, (bytes) => bytes.write('../', bytes.indexOf('pack-')))],
  ['says that objects are in no pack', (path) => patch(path, putInNoPack)],
];

function patchTo(path: string, length: number): void {
  rmSync(path);
  writeFileSync(path, Buffer.alloc(length));
}

function putInNoPack(bytes: Buffer): void {
  const places = Number(bytes.readBigUInt64BE(bytes.indexOf('OOFF') + 4));
  for (let at = places; at < bytes.length - 32; at += 8) bytes.writeUInt32BE(99, at);
}

test.each(DAMAGE)(
  'PackFolder leaves out a multi-pack-index with one notice when it %s',
  async (_, damage) => {
    const { folder, packs, objects, notices } = await covered(4);
    damage(midxOf(folder));
    expectAll(packs, objects);
    expect(packs.refresh()).toBe(false);
    expectAll(packs, objects);
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatch(
      /^the multi-pack-index is left out: .*multi-pack-index: .*: remove it, and make it anew by imgstore pack, or by git -C /,
    );
    expect(notices[0]).not.toContain('\n');
    // Made anew, it is used again.
    rmSync(midxOf(folder));
    await coverAll(folder);
    packs.refresh();
    expect(packs.covered()).toHaveLength(4);
    expectAll(packs, objects);
    expect(notices).toHaveLength(1);
  },
);

test('PackFolder uses a multi-pack-index again that was made anew as the notice says', async () => {
  const repository = GitRepository.create();
  const objects = await writePacks(repository.packs, 0, 2);
  writeFileSync(midxOf(repository.packs), 'x');
  const { packs, notices } = open(repository.packs);
  expectAll(packs, objects);
  expect(packs.covered()).toEqual([]);
  rmSync(midxOf(repository.packs));
  execSync(/or by (git .*)$/.exec(notices[0]!)![1]!);
  packs.refresh();
  expect(packs.covered()).toHaveLength(2);
  expectAll(packs, objects);
});

test('PackFolder finds the copy in another pack when the one that the multi-pack-index names is damaged', async () => {
  const folder = await temporaryFolder();
  const [both, own] = objectsOf(0);
  await writePack(folder, [both!, own!]);
  await writePack(folder, [both!, ...objectsOf(1)]);
  await coverAll(folder);
  const { packs, notices } = open(folder);
  const named = stemOf(packs, both!);
  packs.close();
  truncateSync(`${named}.pack`, 50);
  const again = open(folder);
  expect(again.packs.find(both!.id)!.pack.stem).not.toBe(named);
  expectAll(again.packs, [both!]);
  expect([...again.packs.idsWithPrefix(both!.id)]).toEqual([both!.id]);
  expect(again.notices).toEqual([expect.stringContaining(`a pack is left out: ${named}.pack: `)]);
  expect(again.packs.leftOut()).toHaveLength(1);
  expect(notices).toEqual([]);
});

test('PackFolder reads from a covered pack whose own index is damaged', async () => {
  const { packs, objects, notices } = await covered(3);
  patch(`${stemOf(packs, objects[0]!)}.idx`, (bytes) => bytes.fill(0, 0, 100));
  expect(packs.packs()).toHaveLength(2);
  expectAll(packs, objects);
  expect(notices).toHaveLength(1);
});

test('ObjectDatabase reads the object by the index of its pack when the multi-pack-index has a wrong offset', async () => {
  const repository = GitRepository.create();
  const objects = await writePacks(repository.packs, 0, 2);
  await coverAll(repository.packs);
  patch(midxOf(repository.packs), (bytes) => {
    const places = Number(bytes.readBigUInt64BE(bytes.indexOf('OOFF') + 4));
    for (let at = places; at < bytes.length - 32; at += 8) bytes.writeUInt32BE(12, at + 4);
  });
  const notices: string[] = [];
  const database = new ObjectDatabase(repository.objects, (notice) => notices.push(notice));
  onTestFinished(() => database.close());
  for (const { id, data } of objects) expect(Buffer.compare(database.read(id).data, data)).toBe(0);
  expect(notices).toEqual([
    expect.stringMatching(
      /^the multi-pack-index is left out: .*: object [0-9a-f]{64} is not where it says in pack-/,
    ),
  ]);
});

test('PackFolder opens the index of a covered pack that is not named by its checksum', async () => {
  const folder = await temporaryFolder();
  const objects = await writePacks(folder, 0, 2);
  const [name] = readdirSync(folder).filter((each) => each.endsWith('.pack'));
  for (const ending of ['pack', 'idx'])
    renameSync(join(folder, name!.replace(/pack$/, ending)), join(folder, `pack-12.${ending}`));
  await coverAll(folder);
  const { packs } = open(folder);
  expectAll(packs, objects);
  expect(openFiles(folder).filter((each) => each.endsWith('.idx'))).toEqual(['pack-12.idx']);
});
