import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { PackFolder } from '../../pack/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { GitRepository } from '../objects/git.ts';
import { mixed } from '../objects/noise.ts';
import { type SampleObject, sampleObject, writePack } from './pack-objects.ts';

const blobs = (from: number, count: number): SampleObject[] =>
  Array.from({ length: count }, (_, i) => sampleObject('blob', mixed(500, from + i)));

async function open(): Promise<PackFolder> {
  const packs = new PackFolder(await temporaryFolder());
  onTestFinished(() => packs.close());
  return packs;
}

test('PackFolder finds objects of all its packs', async () => {
  const packs = await open();
  const sets = [blobs(0, 5), blobs(100, 5), blobs(200, 5)];
  for (const set of sets) await writePack(packs.folder, set);
  for (const { id, size, data } of sets.flat()) {
    expect(packs.has(id)).toBe(true);
    expect(packs.header(id)).toEqual({ type: 'blob', size });
    expect(Buffer.compare(packs.read(id)!.data, data)).toBe(0);
  }
  expect(packs.packs()).toHaveLength(3);
});

test('PackFolder gives undefined when there is no such object or no such folder', async () => {
  const packs = new PackFolder(join(await temporaryFolder(), 'missing'));
  const { id } = sampleObject('blob', mixed(1, 1));
  expect(packs.packs()).toEqual([]);
  expect(packs.has(id)).toBe(false);
  expect([packs.find(id), packs.read(id), packs.header(id)]).toEqual(Array(3).fill(undefined));
  expect([...packs.idsWithPrefix('')]).toEqual([]);
});

test('PackFolder.refresh sees new packs and keeps those that are open', async () => {
  const packs = await open();
  const [first, second] = [blobs(0, 3), blobs(100, 3)];
  await writePack(packs.folder, first);
  expect(packs.refresh()).toBe(true);
  const [pack] = packs.packs();
  expect(packs.refresh()).toBe(false);
  await writePack(packs.folder, second);
  expect(packs.has(second[0]!.id)).toBe(false);
  expect(packs.refresh()).toBe(true);
  expect(packs.has(second[0]!.id)).toBe(true);
  expect(packs.packs()).toContain(pack);
});

test('PackFolder forgets packs that were removed, but one in use stays readable', async () => {
  const packs = await open();
  const first = blobs(0, 300);
  const stem = await writePack(packs.folder, first);
  await writePack(packs.folder, blobs(1000, 3));
  const place = packs.find(first[0]!.id)!;
  const { fd, base: stream } = place.pack.streams(place.pack.idx.find(first[1]!.id)!);
  for (const ending of ['idx', 'pack', 'rev']) rmSync(`${stem}.${ending}`);
  expect(packs.refresh()).toBe(false);
  expect(packs.packs()).toHaveLength(1);
  expect(packs.has(first[0]!.id)).toBe(false);
  for (const { id, data } of first)
    expect(Buffer.compare(place.pack.read(place.pack.idx.find(id)!).data, data)).toBe(0);
  const bytes = Buffer.alloc(stream.length);
  readSync(fd, bytes, 0, bytes.length, stream.offset);
  expect(inflateSync(bytes).equals(first[1]!.data)).toBe(true);
});

test('Pack.streamsAt says where the bytes of an object lie that PackFolder found', async () => {
  const packs = await open();
  const objects = blobs(0, 3);
  await writePack(packs.folder, objects);
  for (const { id, data, size } of objects) {
    const { pack, offset } = packs.find(id)!;
    const { fd, type, base, deltas } = pack.streamsAt(offset);
    expect({ type, size: base.size, deltas }).toEqual({ type: 'blob', size, deltas: [] });
    const bytes = Buffer.alloc(base.length);
    expect(readSync(fd, bytes, 0, bytes.length, base.offset)).toBe(base.length);
    expect(inflateSync(bytes).equals(data)).toBe(true);
  }
});

test('PackFolder ignores what is no pack', async () => {
  const packs = await open();
  await writePack(packs.folder, blobs(0, 2));
  for (const name of [
    'tmp_idx_abc',
    'pack-xyz.idx',
    'multi-pack-index',
    'pack-12.pack',
    'pack-12.keep',
    'x.idx',
  ])
    writeFileSync(join(packs.folder, name), 'x');
  mkdirSync(join(packs.folder, 'folder'));
  expect(packs.packs()).toHaveLength(1);
});

/** Damage by which a pack cannot be opened, and the file that is named for it. */
const DAMAGE: readonly [name: string, file: string, damage: (stem: string) => void][] = [
  ['index is garbage', '.idx', (stem) => overwrite(`${stem}.idx`, Buffer.from('x'))],
  ['index is empty', '.idx', (stem) => overwrite(`${stem}.idx`, Buffer.alloc(0))],
  ['index is cut short', '.idx', (stem) => truncateSync(`${stem}.idx`, 1200)],
  ['index is a folder', '.idx', (stem) => folderInstead(`${stem}.idx`)],
  ['index is a named pipe', '.idx', (stem) => pipeInstead(`${stem}.idx`)],
  ['pack is a named pipe', '.pack', (stem) => pipeInstead(`${stem}.pack`)],
  ['index has a fan-out that falls', '.idx', (stem) => patch(`${stem}.idx`, 8 + 4 * 5, [0, 0, 0, 9])],
  ['index is of another version', '.idx', (stem) => patch(`${stem}.idx`, 4, [0, 0, 0, 3])],
  ['index is of another pack', '.pack', (stem) => patch(`${stem}.idx`, -64, [1, 2, 3, 4])],
  ['pack is of another version', '.pack', (stem) => patch(`${stem}.pack`, 4, [0, 0, 0, 4])],
  ['pack has another number of entries', '.pack', (stem) => patch(`${stem}.pack`, 8, [0, 0, 0, 9])],
  ['pack is garbage', '.pack', (stem) => overwrite(`${stem}.pack`, Buffer.alloc(400, 'x'))],
  ['pack is empty', '.pack', (stem) => truncateSync(`${stem}.pack`, 0)],
  ['pack is cut short', '.pack', (stem) => truncateSync(`${stem}.pack`, 200)],
  ['pack is not there', '.idx', (stem) => rmSync(`${stem}.pack`)],
];

function overwrite(path: string, bytes: Buffer): void {
  rmSync(path);
  writeFileSync(path, bytes);
}

function patch(path: string, at: number, bytes: readonly number[]): void {
  const all = readFileSync(path);
  all.set(bytes, at < 0 ? all.length + at : at);
  overwrite(path, all);
}

function pipeInstead(path: string): void {
  rmSync(path);
  execFileSync('mkfifo', [path]);
}

function folderInstead(path: string): void {
  rmSync(path);
  mkdirSync(path);
}

test.each(DAMAGE)('PackFolder leaves out a pack with one notice when its %s', async (_, file, damage) => {
  const notices: string[] = [];
  const packs = new PackFolder(await temporaryFolder(), (notice) => notices.push(notice));
  onTestFinished(() => packs.close());
  const [lost, kept] = [blobs(0, 2), blobs(99, 2)];
  const stem = await writePack(packs.folder, lost);
  await writePack(packs.folder, kept);
  damage(stem);
  expect(packs.packs()).toHaveLength(1);
  for (const { id } of kept) expect(packs.read(id)).toBeDefined();
  for (const { id } of lost) expect(packs.has(id)).toBe(false);
  packs.refresh();
  expect(notices).toHaveLength(1);
  expect(notices[0]).toContain(`${stem}${file}: `);
  expect(notices[0]).toMatch(/from a copy/);
  expect(notices[0]).not.toContain('\n');
  expect(packs.leftOut()).toHaveLength(1);
});

test('PackFolder takes in a pack again when its index was made anew', async () => {
  const repository = GitRepository.create();
  const notices: string[] = [];
  const packs = new PackFolder(repository.packs, (notice) => notices.push(notice));
  onTestFinished(() => packs.close());
  const objects = blobs(0, 3);
  const stem = await writePack(packs.folder, objects);
  truncateSync(`${stem}.idx`, 1100);
  expect(packs.has(objects[0]!.id)).toBe(false);
  expect(notices[0]).toMatch(/imgstore --store \S+ fsck --repair$/);
  repository.git(['index-pack', `${stem}.pack`]);
  expect(packs.refresh()).toBe(true);
  expect(packs.leftOut()).toEqual([]);
  for (const { id } of objects) expect(packs.read(id)).toBeDefined();
});

test('PackFolder.leftOut names a pack that has no index, without a notice, as it may be just coming', async () => {
  const notices: string[] = [];
  const packs = new PackFolder(await temporaryFolder(), (notice) => notices.push(notice));
  const stem = await writePack(packs.folder, blobs(0, 2));
  rmSync(`${stem}.idx`);
  expect(packs.packs()).toEqual([]);
  expect(notices).toEqual([]);
  expect(packs.leftOut()).toEqual([expect.stringContaining(`${stem}.pack: has no index: put both`)]);
});

test('PackFolder.idsWithPrefix gives the ids of all packs that begin so', async () => {
  const packs = await open();
  const objects = [...blobs(0, 40), ...blobs(100, 40)];
  await writePack(packs.folder, objects.slice(0, 40));
  await writePack(packs.folder, objects.slice(40));
  for (const prefix of ['', ...objects.slice(0, 10).map(({ id }) => id.slice(0, 1)), objects[0]!.id]) {
    const expected = objects.map(({ id }) => id).filter((id) => id.startsWith(prefix));
    expect([...packs.idsWithPrefix(prefix)].sort()).toEqual(expected.sort());
  }
});

test('PackFolder.idsWithPrefix leaves nothing out when objects are looked up meanwhile', async () => {
  const packs = await open();
  const sets = [blobs(0, 3), blobs(100, 3), blobs(200, 3)];
  for (const set of sets) await writePack(packs.folder, set);
  const found: string[] = [];
  for (const id of packs.idsWithPrefix('')) {
    found.push(id);
    // The look-up moves its pack to the front.
    for (const set of sets) packs.has(set[0]!.id);
  }
  expect(found.sort()).toEqual(
    sets
      .flat()
      .map(({ id }) => id)
      .sort(),
  );
});
