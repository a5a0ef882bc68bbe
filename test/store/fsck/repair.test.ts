import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import { type ObjectId, objectId } from '../../../objects/index.ts';
import {
  collectGarbage,
  DiskSource,
  packStore,
  type RepairReport,
  readVersion,
  repairStore,
  Store,
} from '../../../store/index.ts';
import { resolveCommit } from '../../../store/revision/resolve.ts';
import { noise } from '../../qcow2/qemu.ts';
import { git, gitFsck } from '../git.ts';
import { commitBytes, newStore, SMALL, type TestStore } from '../new-store.ts';
import { flipBit, fsck, patch } from './store-copies.ts';

const CLUSTERS = 300;

/** Versions of a disk with a map of two levels and a hole. */
const VERSIONS = [0, 1, 2].map((version) => {
  const disk = noise(SMALL * CLUSTERS, 1);
  disk.fill(0, SMALL * 60, SMALL * 250);
  for (let i = 0; i < version * 15; i++) noise(64, 100 + i).copy(disk, SMALL * (i * 2) + 30);
  return disk;
});

async function storeOfVersions(settings: Record<string, number> = {}): Promise<TestStore> {
  const made = await newStore(SMALL, settings);
  for (const disk of VERSIONS) await commitBytes(made, 'web', disk);
  return made;
}

async function repair(path: string, ...from: readonly string[]): Promise<RepairReport> {
  const store = await Store.open(path);
  onTestFinished(() => store.close());
  return repairStore(store, { from });
}

async function expectVersions(path: string): Promise<void> {
  const store = await Store.open(path);
  onTestFinished(() => store.close());
  for (const [i, disk] of [...VERSIONS].reverse().entries()) {
    const version = readVersion(store.objects, await resolveCommit(store, `web~${i}`));
    const source = new DiskSource(store.objects, version.disks[0]!);
    const bytes = Buffer.alloc(source.size);
    await source.read(0, bytes);
    expect(bytes.equals(disk)).toBe(true);
  }
}

function packs(path: string, ending = 'pack'): string[] {
  const folder = join(path, 'objects/pack');
  return readdirSync(folder)
    .filter((name) => name.startsWith('pack-') && name.endsWith(`.${ending}`))
    .map((name) => join(folder, name));
}

/** Every file of the store that was set aside, by its path in the store. */
function asideOf(report: RepairReport): string[] {
  if (report.aside === undefined) return [];
  return readdirSync(report.aside, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(report.aside!.length + 1))
    .sort();
}

async function expectWhole(made: TestStore, report: RepairReport): Promise<void> {
  expect(report).toMatchObject({ clean: true, damaged: [], missing: [], files: [], refs: [] });
  await gitFsck(made.path);
  expect((await fsck(made.path)).clean).toBe(true);
  await expectVersions(made.path);
}

async function image(made: TestStore, version: number): Promise<string> {
  const path = made.file(`copy-${version}.raw`);
  await writeFile(path, VERSIONS[version]!);
  return path;
}

test('repairStore changes nothing when nothing is damaged', async () => {
  const made = await storeOfVersions();
  const report = await repair(made.path);
  expect(report).toMatchObject({ clean: true, repaired: [], aside: undefined, healed: 0 });
});

test.each(['idx', 'rev'] as const)(
  'repairStore makes an %s anew when it is damaged or gone',
  async (ending) => {
    const made = await storeOfVersions();
    await packStore(made.store);
    const [path] = packs(made.path, ending);
    const whole = readFileSync(path!);
    flipBit(path!, 8 * 200);
    const report = await repair(made.path);
    await expectWhole(made, report);
    expect(readFileSync(path!).equals(whole)).toBe(true);
    expect(asideOf(report)).toContain(path!.slice(made.path.length + 1));
    if (ending === 'rev') return;
    rmSync(path!);
    expect((await fsck(made.path)).files).toMatchObject([{ kind: 'idx' }]);
    await expectWhole(made, await repair(made.path));
  },
);

test('repairStore leaves a loose object where it is that a commit stores anew meanwhile', async () => {
  const made = await storeOfVersions();
  await packStore(made.store);
  await commitBytes(made, 'ci', noise(SMALL, 77));
  const blob = (await git(made.path, 'ls-tree', '-r', 'ci', 'disks')).split(/\s/)[2]!;
  const path = join(made.path, 'objects', blob.slice(0, 2), blob.slice(2));
  const whole = readFileSync(path);
  // As a failure of the power leaves it.
  truncateSync(path);
  const [pack] = packs(made.path);
  flipBit(pack!, 8 * (readFileSync(pack!).length - 1));
  // The pack is written anew after the check, and before files are set aside.
  const stop = watchPoints((point) => {
    if (point === 'pack.create') writeFileSync(path, whole);
  });
  const report = await repair(made.path).finally(stop);
  await expectWhole(made, report);
  expect(readFileSync(path).equals(whole)).toBe(true);
});

test('repairStore makes the multi-pack-index anew when it is damaged', async () => {
  const made = await storeOfVersions({ unpackLimit: 1 });
  await git(made.path, 'multi-pack-index', 'write');
  flipBit(join(made.path, 'objects/pack/multi-pack-index'), 8 * 1400);
  const report = await repair(made.path);
  await expectWhole(made, report);
  expect(asideOf(report)).toContain('objects/pack/multi-pack-index');
  await git(made.path, 'multi-pack-index', 'verify');
});

test('repairStore takes the good copy when a packed object is damaged and a loose one is whole', async () => {
  const made = await storeOfVersions({ unpackLimit: 10_000 });
  const loose = [...made.store.objects.loose.ids()];
  await git(made.path, 'repack', '-a', '-q');
  expect([...made.store.objects.loose.ids()]).toHaveLength(loose.length);
  const [path] = packs(made.path);
  patch(path!, (bytes) => {
    bytes.fill(0, 5000, 9000);
    return undefined;
  });
  const before = await fsck(made.path);
  expect(before.damaged.length).toBeGreaterThan(0);
  expect(before.damaged.every(({ lost }) => !lost)).toBe(true);
  const report = await repair(made.path);
  await expectWhole(made, report);
  expect(asideOf(report)).toContain(path!.slice(made.path.length + 1));
});

test('repairStore sets a loose object aside when a pack has it whole', async () => {
  const made = await storeOfVersions({ unpackLimit: 10_000 });
  await git(made.path, 'repack', '-a', '-q');
  const [id] = [...made.store.objects.loose.ids()];
  const path = made.store.objects.loose.path(id!);
  truncateSync(path, 20);
  const report = await repair(made.path);
  await expectWhole(made, report);
  expect(asideOf(report)).toEqual([path.slice(made.path.length + 1)]);
});

test('repairStore keeps an object when its loose file has bytes behind its end', async () => {
  const made = await storeOfVersions({ unpackLimit: 10_000 });
  const [id] = [...made.store.objects.loose.ids()];
  patch(made.store.objects.loose.path(id!), (bytes) => Buffer.concat([bytes, Buffer.from('more')]));
  expect((await fsck(made.path)).damaged).toMatchObject([{ id, lost: false }]);
  await expectWhole(made, await repair(made.path));
});

test('repairStore keeps what is whole when the header or the end of a pack is damaged', async () => {
  for (const at of [5, 11, -3]) {
    const made = await storeOfVersions();
    await packStore(made.store);
    const [path] = packs(made.path);
    patch(path!, (bytes) => {
      bytes[(bytes.length + at) % bytes.length]! ^= 1;
      return undefined;
    });
    const report = await repair(made.path);
    await expectWhole(made, report);
    expect(asideOf(report)).toContain(path!.slice(made.path.length + 1));
  }
});

test('repairStore heals clusters and what stands on them as deltas when an image has them', async () => {
  const made = await storeOfVersions();
  await packStore(made.store);
  const [path] = packs(made.path);
  patch(path!, (bytes) => {
    for (let at = 3000; at < bytes.length - 3000; at += 20_000) bytes[at]! ^= 0x10;
    return undefined;
  });
  const damaged = await fsck(made.path);
  expect(damaged.damaged.length).toBeGreaterThan(20);
  const left = await repair(made.path);
  expect(left.clean).toBe(false);
  expect(left.missing.length).toBeGreaterThan(0);
  for (const { kind, touches } of left.missing) {
    expect(kind).toBeDefined();
    expect(touches.length).toBeGreaterThan(0);
  }
  const report = await repair(made.path, ...(await Promise.all([0, 1, 2].map((i) => image(made, i)))));
  await expectWhole(made, report);
  expect(report.healed).toBeGreaterThan(0);
});

test.each([
  ['at once', false],
  ['later', true],
])(
  'repairStore restores objects by their deltas when an image brings the bases back %s',
  async (_, isLate) => {
    const made = await newStore();
    const before = noise(SMALL * 8, 1);
    const after = Buffer.from(before);
    noise(40, 9).copy(after, SMALL * 2 + 100);
    await commitBytes(made, 'web', before);
    await commitBytes(made, 'web', after);
    await packStore(made.store);
    const { packs: folder } = made.store.objects;
    const [pack] = folder.packs();
    const idOf = (bytes: Buffer): ObjectId => blobId(bytes.subarray(SMALL * 2, SMALL * 3));
    const [old, young] = [before, after].map((bytes) => pack!.idx.find(idOf(bytes))!);
    const [delta, base] = pack!.depth(old!) > 0 ? [before, after] : [after, before];
    expect(pack!.depth(old!) + pack!.depth(young!)).toBe(1);
    const offset = pack!.idx.offset(pack!.idx.find(idOf(base))!);
    patch(pack!.path, (bytes) => {
      bytes[offset + 1000]! ^= 1;
      return undefined;
    });
    expect((await fsck(made.path)).damaged.map(({ id }) => id).sort()).toEqual(
      [idOf(delta), idOf(base)].sort(),
    );
    const path = made.file('base.raw');
    await writeFile(path, base);
    if (isLate) expect((await repair(made.path)).missing).toHaveLength(2);
    expect(await repair(made.path, path)).toMatchObject({ clean: true, healed: isLate ? 2 : 1 });
    await gitFsck(made.path);
  },
);

test('repairStore heals map nodes, and what is below them, when loose objects are gone', async () => {
  const made = await storeOfVersions({ unpackLimit: 10_000 });
  const version = readVersion(made.store.objects, await resolveCommit(made.store, 'web'));
  const root = version.disks[0]!.map.id!;
  const lost = await git(made.path, 'ls-tree', '-r', '-t', '--object-only', root);
  const shared = new Set((await git(made.path, 'ls-tree', '-r', '-t', '--object-only', 'web~1')).split('\n'));
  const own = lost.split('\n').filter((id) => !shared.has(id));
  expect(own.length).toBeGreaterThan(10);
  for (const id of [root, ...own]) rmSync(made.store.objects.loose.path(id), { force: true });
  const found = await fsck(made.path);
  expect(found.missing).toMatchObject([
    {
      id: root,
      kind: 'tree',
      touches: [{ name: 'web', disk: 'vda', ranges: [{ offset: 0, length: SMALL * CLUSTERS }] }],
    },
  ]);
  await expectWhole(made, await repair(made.path, await image(made, 2)));
});

test('repairStore restores the description of a version when an image tells it', async () => {
  const made = await storeOfVersions({ unpackLimit: 10_000 });
  const { tree } = readVersion(made.store.objects, await resolveCommit(made.store, 'web')).commit;
  const entries = (await git(made.path, 'ls-tree', '--object-only', tree)).split('\n');
  for (const id of [tree, ...entries]) rmSync(made.store.objects.loose.path(id));
  await expectWhole(made, await repair(made.path, await image(made, 2)));
});

test('repairStore puts a branch at the last version of its log when it cannot be read', async () => {
  const made = await storeOfVersions();
  const tip = await git(made.path, 'rev-parse', 'web');
  writeFileSync(join(made.path, 'refs/heads/web'), Buffer.alloc(65));
  const report = await repair(made.path);
  await expectWhole(made, report);
  expect(await git(made.path, 'rev-parse', 'web')).toBe(tip);
  expect(asideOf(report)).toEqual(['refs/heads/web']);
});

test('repairStore puts a branch that cannot be read at its last version, also when a cluster of that is lost', async () => {
  const made = await storeOfVersions({ unpackLimit: 10_000 });
  const tip = await git(made.path, 'rev-parse', 'web');
  const old = new Set(
    (await git(made.path, 'rev-list', '--objects', '--no-object-names', 'web~1')).split('\n'),
  );
  const blobs = (await git(made.path, 'ls-tree', '-r', 'web', 'disks'))
    .split('\n')
    .map((line) => line.split(/\s/)[2]!);
  rmSync(made.store.objects.loose.path(blobs.find((id) => !old.has(id))!));
  writeFileSync(join(made.path, 'refs/heads/web'), '');
  expect((await repair(made.path)).clean).toBe(false);
  expect(await git(made.path, 'rev-parse', 'web')).toBe(tip);
});

test('repairStore leaves a branch where somebody has put it meanwhile', async () => {
  const made = await storeOfVersions();
  const old = await git(made.path, 'rev-parse', 'web~1');
  const ref = join(made.path, 'refs/heads/web');
  writeFileSync(ref, 'nonsense');
  onTestFinished(
    watchPoints((point) => {
      if (point.startsWith('aside.')) writeFileSync(ref, `${old}\n`);
    }),
  );
  await repair(made.path);
  expect(await git(made.path, 'rev-parse', 'web')).toBe(old);
});

test('repairStore puts a branch back a version when its last commit is lost', async () => {
  const made = await storeOfVersions({ unpackLimit: 10_000 });
  const [tip, before] = (await git(made.path, 'rev-parse', 'web', 'web~1')).split('\n');
  rmSync(made.store.objects.loose.path(tip!));
  const found = await fsck(made.path);
  expect(found.missing).toMatchObject([{ id: tip, kind: undefined }]);
  expect(found.refs.map(({ isLog }) => isLog)).toContain(false);
  const report = await repair(made.path);
  expect(report.clean).toBe(true);
  expect(await git(made.path, 'rev-parse', 'web')).toBe(before);
  expect(await git(made.path, 'fsck', '--full', '--strict')).not.toMatch(/missing|error|invalid/);
});

test('repairStore brings a branch back when its line of packed-refs is damaged', async () => {
  const made = await storeOfVersions();
  await commitBytes(made, 'db', noise(SMALL, 5));
  const tips = await git(made.path, 'rev-parse', 'web', 'db');
  await git(made.path, 'pack-refs', '--all');
  patch(join(made.path, 'packed-refs'), (bytes) =>
    Buffer.from(bytes.toString().replace(/[0-9a-f]{60} refs\/heads\/web/, 'x refs/heads/web')),
  );
  expect((await fsck(made.path)).files).toMatchObject([{ kind: 'packed-refs' }]);
  await expectWhole(made, await repair(made.path));
  expect(await git(made.path, 'rev-parse', 'web', 'db')).toBe(tips);
});

test.each<[string, (text: string) => string, ref: (id: string) => string]>([
  ['a digit of its id', (text) => text.replace(/^(.{9}).(.*db)$/m, '$1z$2'), () => 'refs/heads/db'],
  ['its name', (text) => text.replace('heads/db', 'heads/d~'), (id) => `refs/lost-found/${id}`],
  ['the end of its line', (text) => text.replace('heads/db\n', 'heads/dbJ'), (id) => `refs/lost-found/${id}`],
  ['all of packed-refs', (text) => '\0'.repeat(text.length), (id) => `refs/lost-found/${id}`],
])(
  'repairStore leaves no version to gc when %s is damaged and the branch has no log',
  async (_, damage, ref) => {
    const made = await storeOfVersions();
    await commitBytes(made, 'db', noise(SMALL, 5));
    await git(made.path, 'tag', '-a', '-m', 'Release', 'v1', 'web~1');
    const [db, web] = (await git(made.path, 'rev-parse', 'db', 'web')).split('\n');
    await git(made.path, 'pack-refs', '--all');
    // As in a copy that git clone has made.
    rmSync(join(made.path, 'logs'), { recursive: true });
    patch(join(made.path, 'packed-refs'), (bytes) => Buffer.from(damage(bytes.toString())));
    const report = await repair(made.path);
    expect(report).toMatchObject({ clean: true, missing: [], refs: [], files: [] });
    expect(await git(made.path, 'rev-parse', ref(db!))).toBe(db);
    const store = await Store.open(made.path);
    onTestFinished(() => store.close());
    await collectGarbage(store, { prune: 'now' });
    expect(await git(made.path, 'cat-file', '-t', web!)).toBe('commit');
    expect(await git(made.path, 'cat-file', '-t', db!)).toBe('commit');
    expect(await git(made.path, 'tag', '-l')).toBe('v1');
    await gitFsck(made.path);
  },
);

test('repairStore leaves no version to gc when its ref has no name that a ref can have', async () => {
  const made = await storeOfVersions();
  await commitBytes(made, 'db', noise(SMALL, 5));
  const db = await git(made.path, 'rev-parse', 'db');
  await git(made.path, 'branch', '-D', 'db');
  writeFileSync(join(made.path, 'refs/heads/d~b'), `${db}\n`);
  writeFileSync(join(made.path, 'refs/heads/web~'), `${await git(made.path, 'rev-parse', 'web')}\n`);
  await expectWhole(made, await repair(made.path));
  const refs = await git(made.path, 'for-each-ref', '--format=%(refname)');
  expect(refs.split('\n')).toEqual(['refs/heads/web', `refs/lost-found/${db}`]);
});

test('repairStore puts HEAD on a branch when it says nothing', async () => {
  const made = await storeOfVersions();
  await commitBytes(made, 'db', noise(SMALL, 5));
  writeFileSync(join(made.path, 'HEAD'), 'nonsense\n');
  await expectWhole(made, await repair(made.path));
  expect(await git(made.path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/db');
});

test('repairStore takes lines out of a reflog that lead nowhere', async () => {
  const made = await storeOfVersions();
  const path = join(made.path, 'logs/refs/heads/web');
  patch(path, (bytes) => {
    const lines = bytes.toString().split('\n');
    return Buffer.from(
      [lines[0], lines[1]!.replace(/^..../, 'dead'), 'no line', ...lines.slice(2)].join('\n'),
    );
  });
  expect((await fsck(made.path)).refs).toHaveLength(2);
  await expectWhole(made, await repair(made.path));
  expect(readFileSync(path, 'utf8').split('\n')).toHaveLength(3);
});

function blobId(bytes: Buffer): ObjectId {
  return objectId('blob', bytes);
}
