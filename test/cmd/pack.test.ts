import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { expect, onTestFinished, test } from 'vitest';
import { DiskSource, readVersion, resolveCommit, Store } from '../../store/index.ts';
import { SketchIndex } from '../../store/pack/sketch-index.ts';
import { oneLine, sharedWorkplace, Workplace } from './imgstore.ts';
import {
  commitVersions,
  configure,
  editedDisk,
  expectVersions,
  gitDepths,
  objectBytes,
  packNames,
} from './packed-store.ts';
import { NUMBER } from './shapes.ts';

const VERSIONS = 3;

const template = sharedWorkplace(async (place) => {
  await place.ok('init');
  configure(place, { autoPack: 0 });
  await commitVersions(place, VERSIONS);
});

/** A store of its own with some versions of `web`, all loose. */
async function looseStore(settings: Readonly<Record<string, string | number>> = {}): Promise<Workplace> {
  const place = await Workplace.create();
  await cp(template().folder, place.folder, { recursive: true, preserveTimestamps: true });
  configure(place, settings);
  return place;
}

/** Fails unless git finds the store in order and every version is there. */
async function expectWhole(place: Workplace, versions = VERSIONS): Promise<void> {
  place.fsck();
  await expectVersions(place, versions);
}

const lockOf = (place: Workplace) => place.path('.imgstore/imgstore/locks/pack.lock');

test('pack --json says what git and du say', async () => {
  const place = await looseStore();
  const before = objectBytes(place);
  const objects = Number(/^count: (\d+)$/m.exec(place.git('count-objects', '-v'))![1]);
  const result = await place.json('pack');
  expect(Object.keys(result)).toEqual([
    'packs',
    'objects',
    'deltas',
    'storedBytesBefore',
    'storedBytesAfter',
    'seconds',
  ]);
  const depths = gitDepths(place);
  expect(result).toEqual({
    packs: 1,
    objects,
    deltas: depths.filter((depth) => depth > 0).length,
    storedBytesBefore: before,
    storedBytesAfter: objectBytes(place),
    seconds: NUMBER,
  });
  expect(result.objects).toBe(depths.length);
  // Every cluster of two of the three versions; whether a commit or a tree pays as a delta, too, is up to their bytes.
  expect(gitDepths(place, 'blob').filter((depth) => depth > 0)).toHaveLength(2 * 12);
  expect(place.git('count-objects', '-v')).toMatch(/^count: 0$[\s\S]*^packs: 1$[\s\S]*^garbage: 0$/m);

  const stats = await place.json('stats');
  expect(stats).toMatchObject({
    packs: 1,
    loose: 0,
    deltas: result.deltas,
    storedBytes: result.storedBytesAfter,
  });
  expect(Object.values<number>(stats.objects).reduce((sum, count) => sum + count, 0)).toBe(objects);
  expect(stats.chains).toEqual(
    Array.from({ length: Math.max(...depths) + 1 }, (_, i) => depths.filter((depth) => depth === i).length),
  );
  await expectWhole(place);
});

test('pack prints one line, and a second one that there is nothing to pack', async () => {
  const place = await looseStore();
  const first = await place.run('pack');
  expect(first).toMatchObject({ status: 0, stderr: '' });
  expect(first.stdout).toMatch(
    /^packed \d+ objects, \d+ as deltas: [\d.]+ [KM]iB -> [\d.]+ [KM]iB \([\d.]+ m?s\)\n$/,
  );
  const names = packNames(place);
  expect(await place.run('pack')).toMatchObject({ status: 0, stdout: 'nothing to pack\n', stderr: '' });
  expect(await place.json('pack')).toMatchObject({ packs: 1, objects: 0, deltas: 0 });
  expect(packNames(place)).toEqual(names);
  expect((await place.run('pack', '--quiet')).stdout).toBe('');
  expect(existsSync(lockOf(place))).toBe(false);
});

test('pack says that there is nothing to pack in an empty store', async () => {
  const place = await Workplace.withStore();
  expect(await place.run('pack')).toMatchObject({ status: 0, stdout: 'nothing to pack\n', stderr: '' });
  expect(packNames(place)).toEqual([]);
});

test('pack --aggressive packs everything again and keeps every version', async () => {
  const place = await looseStore();
  const { objects } = await place.json('pack');
  const again = await place.json('pack', '--aggressive');
  expect(again).toMatchObject({ packs: 1, objects });
  // Level 12 on so few bytes gains next to nothing.
  expect(again.storedBytesAfter).toBeLessThan(again.storedBytesBefore * 1.01);
  await expectWhole(place);
  expect(await place.json('pack')).toMatchObject({ objects: 0 });
});

test('pack exits with 4 and one line when another process packs, and packs when it is through', async () => {
  const place = await looseStore();
  mkdirSync(place.path('.imgstore/imgstore/locks'), { recursive: true });
  writeFileSync(lockOf(place), '');
  const busy = await place.run('pack');
  expect(busy).toMatchObject({ status: 4, stdout: '' });
  expect(oneLine(busy)).toMatch(
    /imgstore\/locks\/pack: locked for \d+ s by another process: try again, or wait with --lock-timeout; if none is running, remove /,
  );
  const json = await place.run('pack', '--json');
  expect(json.status).toBe(4);
  expect(JSON.parse(json.stdout).error.code).toBe('BUSY');
  expect(existsSync(lockOf(place))).toBe(true);
  expect(packNames(place)).toEqual([]);
  await expectVersions(place, VERSIONS);
  rmSync(lockOf(place));
  await place.ok('pack');
  expect(existsSync(lockOf(place))).toBe(false);
  await expectWhole(place);
});

test('of two packs at once one packs and the other one exits with 4, or finds nothing to pack', async () => {
  const place = await looseStore();
  const outcomes = await Promise.all([place.run('pack'), place.run('pack')]);
  expect(outcomes.filter(({ stdout }) => stdout.startsWith('packed'))).toHaveLength(1);
  for (const outcome of outcomes.filter(({ status }) => status !== 0)) {
    expect(outcome.status).toBe(4);
    expect(oneLine(outcome)).toContain('imgstore/locks/pack');
  }
  expect(packNames(place)).toHaveLength(1);
  await expectWhole(place);
});

test.each([
  [0, 0],
  [1, 1],
])('pack with imgstore.packDepth %i makes chains of at most %i', async (packDepth, most) => {
  const place = await looseStore({ packDepth });
  await place.ok('pack');
  expect(Math.max(...gitDepths(place))).toBe(most);
  await commitVersions(place, 2, VERSIONS);
  await place.ok('pack');
  expect(Math.max(...gitDepths(place))).toBe(most);
  await place.ok('pack', '--aggressive');
  expect(Math.max(...gitDepths(place))).toBe(most);
  await expectWhole(place, VERSIONS + 2);
});

test.each([
  ['packCompression', ['pack']],
  ['aggressiveCompression', ['pack', '--aggressive']],
])('imgstore.%s is the level of %s', async (key, verb) => {
  // Whole objects show it best.
  const [stored, strong] = await Promise.all(
    [0, 12].map(async (level) => {
      const place = await looseStore({ packDepth: 0, [key]: level });
      const { storedBytesAfter } = await place.json(...verb);
      await expectWhole(place);
      return storedBytesAfter as number;
    }),
  );
  expect(strong).toBeLessThan(stored! * 0.8);
});

test.each([
  ['packCompression', '13', 'imgstore.packCompression is 13: must be 0 to 12'],
  ['packCompression', 'best', 'imgstore.packCompression = best: is not a number'],
  ['aggressiveCompression', '13', 'imgstore.aggressiveCompression is 13: must be 0 to 12'],
  ['aggressiveCompression', '-1', 'imgstore.aggressiveCompression = -1: is not a number'],
  ['packDepth', '251', 'imgstore.packDepth is 251: must be 0 to 250'],
  ['packDepth', '1.5', 'imgstore.packDepth = 1.5: is not a number'],
  ['packDepth', 'deep', 'imgstore.packDepth = deep: is not a number'],
  ['autoPack', '-1', 'imgstore.autoPack = -1: is not a number'],
  ['autoPack', 'often', 'imgstore.autoPack = often: is not a number'],
])('pack refuses imgstore.%s = %s in one line', async (key, value, line) => {
  const place = await Workplace.withStore();
  configure(place, { [key]: value });
  const outcome = await place.run('pack');
  expect(outcome).toMatchObject({ status: 1, stdout: '' });
  expect(oneLine(outcome)).toContain(line);
});

test('pack leaves a pack with a .keep file alone, also when it is aggressive', async () => {
  const place = await looseStore();
  await place.ok('pack');
  const [kept] = packNames(place);
  writeFileSync(place.path('.imgstore/objects/pack', `${kept}.keep`), '');
  await commitVersions(place, 2, VERSIONS);
  for (const verb of [['pack'], ['pack', '--aggressive']]) {
    expect((await place.json(...verb)).packs).toBe(2);
    expect(packNames(place)).toContain(kept);
    place.git('multi-pack-index', 'verify');
    await expectWhole(place, VERSIONS + 2);
  }
});

test.each<[string, (folder: string) => void]>([
  ['deleted', (folder) => rmSync(folder, { recursive: true })],
  [
    'filled with rubbish',
    (folder) => {
      for (const name of readdirSync(folder)) writeFileSync(`${folder}/${name}`, 'rubbish'.repeat(1000));
    },
  ],
  [
    'emptied',
    (folder) => {
      for (const name of readdirSync(folder)) rmSync(`${folder}/${name}`);
    },
  ],
  [
    'a file',
    (folder) => {
      rmSync(folder, { recursive: true });
      writeFileSync(folder, 'rubbish');
    },
  ],
])('pack packs as ever when its folder of sketches is %s', async (_, damage) => {
  const place = await looseStore();
  await place.ok('pack');
  damage(place.path('.imgstore/imgstore/sketches'));
  await commitVersions(place, 2, VERSIONS);
  const outcome = await place.run('pack');
  expect(outcome).toMatchObject({ status: 0, stderr: '' });
  expect(packNames(place)).toHaveLength(1);
  await expectWhole(place, VERSIONS + 2);
  expect(await place.json('pack')).toMatchObject({ objects: 0 });
});

test('pack packs as ever while another process holds the sketches', async () => {
  const place = await looseStore();
  await place.ok('pack');
  const held = await SketchIndex.open(place.path('.imgstore/imgstore/sketches'));
  onTestFinished(() => held.close());
  await commitVersions(place, 2, VERSIONS);
  expect(await place.run('pack')).toMatchObject({ status: 0, stderr: '' });
  expect(packNames(place)).toHaveLength(1);
  expect(Math.max(...gitDepths(place))).toBeGreaterThan(0);
  await expectWhole(place, VERSIONS + 2);
});

/** All bytes of a version's disk through a store that is open. */
async function readAll(store: Store, revision: string): Promise<Buffer> {
  const { disks } = readVersion(store.objects, await resolveCommit(store, revision));
  const source = new DiskSource(store.objects, disks[0]!);
  const bytes = Buffer.alloc(source.size);
  for (let at = 0; at < bytes.length; at += 65536) {
    await source.read(at, bytes.subarray(at, at + 65536));
    // Others have their turn between two clusters.
    await new Promise(setImmediate);
  }
  return bytes;
}

test('a store that is open is read on while pack replaces its files, again and again', async () => {
  const place = await looseStore({ unpackLimit: 1 });
  const notices: string[] = [];
  const store = await Store.open(place.path('.imgstore'), { onNotice: (notice) => notices.push(notice) });
  onTestFinished(() => store.close());
  let rounds = 0;
  const expectAll = async () => {
    for (let version = 0; version < VERSIONS; version++)
      expect((await readAll(store, `web~${VERSIONS - 1 - version}`)).equals(editedDisk(version))).toBe(true);
    rounds++;
  };
  await expectAll();
  for (const verb of [['pack'], ['pack', '--aggressive'], ['commit'], ['pack', '--aggressive']]) {
    const isCommit = verb[0] === 'commit';
    if (isCommit) writeFileSync(place.path('other.raw'), editedDisk(9));
    const running = place.start(isCommit ? ['commit', 'other.raw'] : verb);
    let ended = false;
    const finished = running.finished.finally(() => {
      ended = true;
    });
    do await expectAll();
    while (!ended);
    expect(await finished).toMatchObject({ status: 0, stderr: '' });
    await expectAll();
  }
  expect(rounds).toBeGreaterThan(8);
  expect(notices).toEqual([]);
  await expectWhole(place);
});

test('read-only verbs go on beside pack', async () => {
  const place = await looseStore();
  const expected = await Promise.all([
    place.json('log', 'web'),
    place.json('images'),
    place.json('show', 'web'),
  ]);
  const packing = place.start(['pack', '--aggressive']);
  let ended = false;
  const finished = packing.finished.finally(() => {
    ended = true;
  });
  do {
    expect(
      await Promise.all([place.json('log', 'web'), place.json('images'), place.json('show', 'web')]),
    ).toEqual(expected);
    await place.ok('stats');
    await expectVersions(place, VERSIONS);
  } while (!ended);
  expect(await finished).toMatchObject({ status: 0, stderr: '' });
  await expectWhole(place);
});
