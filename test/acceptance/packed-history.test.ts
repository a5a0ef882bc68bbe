import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { MIDX_FILE, PackFolder } from '../../pack/index.ts';
import { sharedWorkplace, Workplace } from '../cmd/imgstore.ts';
import { configure, gitDepths, packNames } from '../cmd/packed-store.ts';
import { noise } from '../objects/noise.ts';
import { qemuImg } from '../qcow2/qemu.ts';
import { system } from './system.ts';

const PAGE = 4096;
const DATABASE_PAGES = 2000;
const PROGRAMS = ['git', 'qemu-img', 'qemu-nbd', 'perl'];
const MODULES = fileURLToPath(new URL('../../node_modules/', import.meta.url));

/** Rows that a version wrote: so many pages from one on. */
type Edit = readonly [version: number, page: number, pages: number];

/** A database of pages with a header as SQLite's, rows of text and some noise, and what versions wrote into it. */
function database(edits: readonly Edit[]): Buffer {
  const bytes = Buffer.alloc(DATABASE_PAGES * PAGE);
  for (let page = 0; page < DATABASE_PAGES; page++) {
    bytes.fill(`row ${page} of a table; `, page * PAGE, (page + 1) * PAGE);
    noise(600, page).copy(bytes, page * PAGE + 500);
  }
  bytes.write('SQLite format 3\0');
  for (const [version, first, pages] of edits)
    for (let page = first; page < first + pages; page++)
      noise(80, version * DATABASE_PAGES + page).copy(bytes, page * PAGE + 2000);
  return bytes;
}

/** A log that only grows. */
function log(lines: number): string {
  return Array.from(
    { length: lines },
    (_, i) => `Jan 01 00:${i % 60}:00 host service[${i}]: event ${i * 31}\n`,
  ).join('');
}

/** What the files of a version depend on. */
interface Contents {
  readonly edits: readonly Edit[];
  readonly lines: number;
  readonly packages: readonly string[];
}

/** Makes an ext4 file system of 80 MB of real programs, texts and a database. */
function makeDisk(path: string, { edits, lines, packages }: Contents): void {
  const files = `${path}.files`;
  for (const folder of ['bin', 'etc', 'lib', 'var']) mkdirSync(`${files}/${folder}`, { recursive: true });
  for (const name of PROGRAMS) system('cp', '-L', `/usr/bin/${name}`, `${files}/bin`);
  for (let i = 0; i < 300; i++)
    writeFileSync(`${files}/etc/${i}.conf`, `# settings of service ${i}\n`.repeat(20 + i));
  for (const name of packages) system('cp', '-a', MODULES + name, `${files}/lib`);
  writeFileSync(`${files}/var/data.db`, database(edits));
  writeFileSync(`${files}/var/log`, log(lines));
  // The same places for the same files, as in a disk that lives on.
  const fixed = [
    '-U',
    '6a1e4f0c-4b0f-4f59-9f5b-0123456789ab',
    '-E',
    'hash_seed=6a1e4f0c-4b0f-4f59-9f5b-0123456789ab',
  ];
  system('mke2fs', '-q', '-t', 'ext4', ...fixed, '-d', files, path, '80M');
  rmSync(files, { recursive: true });
}

const BASE = ['commander', 'level'];
const MORE = [...BASE, 'fast-check', 'vitest'];
const SECOND: readonly Edit[] = [[1, 0, 300]];
const THIRD: readonly Edit[] = [...SECOND, [2, 700, 400]];
const FORK: readonly Edit[] = [...SECOND, [3, 900, 120]];

/** Versions in the order in which they are committed; `other` forks from the second one of `main`. */
const VERSIONS: readonly (Contents & {
  readonly branch: string;
  readonly revision: string;
  readonly parent?: string;
})[] = [
  { branch: 'main', revision: 'main~3', edits: [], lines: 5000, packages: BASE },
  { branch: 'main', revision: 'main~2', edits: SECOND, lines: 9000, packages: BASE },
  { branch: 'main', revision: 'main~1', edits: THIRD, lines: 9500, packages: MORE },
  { branch: 'other', revision: 'other~1', parent: 'main~1', edits: FORK, lines: 9000, packages: BASE },
  { branch: 'other', revision: 'other', edits: [...FORK, [4, 1000, 15]], lines: 9050, packages: BASE },
  { branch: 'main', revision: 'main', edits: [...THIRD, [5, 1500, 10]], lines: 9600, packages: MORE },
];
/** After so many versions the store is packed the first time; that pack is kept, so that there are two. */
const FIRST_PACKED = 4;

const diskPath = (place: Workplace, i: number) => place.path(`version-${i}.raw`);

async function commit(place: Workplace, i: number): Promise<void> {
  const { branch, parent } = VERSIONS[i]!;
  makeDisk(diskPath(place, i), VERSIONS[i]!);
  const from = parent === undefined ? [] : ['--parent', parent];
  await place.ok('commit', `version-${i}.raw`, '-b', branch, ...from, '-m', `version ${i}`);
}

/** Fails unless every version of a store comes back as the disk that was committed, whatever it is packed in. */
async function expectVersions(store: Workplace, disks: Workplace): Promise<void> {
  for (const [i, { revision }] of VERSIONS.entries()) {
    const out = store.path('out.qcow2');
    await store.ok('checkout', revision, '-o', 'out.qcow2', '--force');
    const said = await qemuImg('compare', '-f', 'raw', '-F', 'qcow2', diskPath(disks, i), out);
    expect(said, revision).toContain('identical');
    rmSync(out);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: the JSON of two runs of pack
const packed: any[] = [];

const place = sharedWorkplace(async (made) => {
  await made.ok('init');
  configure(made, { autoPack: 0 });
  for (let i = 0; i < FIRST_PACKED; i++) await commit(made, i);
  packed.push(await made.json('pack'));
  const packs = new PackFolder(made.path('.imgstore/objects/pack'));
  const keep = `${packs.packs()[0]!.stem}.keep`;
  packs.close();
  writeFileSync(keep, '');
  for (let i = FIRST_PACKED; i < VERSIONS.length; i++) await commit(made, i);
  packed.push(await made.json('pack'));
  rmSync(keep);
});

/** Runs git beside the store; fails as git does. */
function git(folder: string, input: string | undefined, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('git', args, {
    cwd: folder,
    env: place().environment,
    input,
    maxBuffer: 2 ** 28,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** A copy of the packed store, for as long as the test runs. */
async function copyOfStore(name: string): Promise<Workplace> {
  const folder = place().path(name);
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  await cp(place().path('.imgstore'), `${folder}/.imgstore`, { recursive: true });
  return new Workplace(folder);
}

test('a history of real disks is packed into packs with deltas that git accepts', async () => {
  const [first, second] = packed;
  expect(first).toMatchObject({ packs: 1 });
  expect(second).toMatchObject({ packs: 2 });
  expect(first.storedBytesAfter).toBeLessThan(first.storedBytesBefore * 0.9);

  place().fsck();
  const depths = gitDepths(place());
  expect(depths).toHaveLength(first.objects + second.objects);
  expect(depths.filter((depth) => depth > 0)).toHaveLength(first.deltas + second.deltas);
  expect(Math.max(...depths)).toBeGreaterThan(1);
  expect(Math.max(...depths)).toBeLessThanOrEqual(8);
  place().git('multi-pack-index', 'verify');
  for (const name of packNames(place())) {
    const stem = place().path('.imgstore/objects/pack', name);
    copyFileSync(`${stem}.pack`, place().path('copy.pack'));
    git(
      place().folder,
      undefined,
      '--git-dir=.imgstore',
      'index-pack',
      '--strict',
      '--rev-index',
      'copy.pack',
    );
    for (const ending of ['idx', 'rev'])
      expect(readFileSync(place().path(`copy.${ending}`)).equals(readFileSync(`${stem}.${ending}`))).toBe(
        true,
      );
    for (const ending of ['pack', 'idx', 'rev']) rmSync(place().path(`copy.${ending}`), { force: true });
  }
});

test('every version of a packed history comes back as it was', async () => {
  await expectVersions(place(), place());
  for (const i of VERSIONS.keys()) {
    const { revision } = VERSIONS[i]!;
    expect((await place().run('compare', revision, `version-${i}.raw`)).status).toBe(0);
  }
  system('e2fsck', '-fn', diskPath(place(), VERSIONS.length - 1));
});

test('git clones a packed history whole', async () => {
  git(place().folder, undefined, 'clone', '-q', '--no-local', '--bare', '.imgstore', 'clone.git');
  onTestFinished(() => rmSync(place().path('clone.git'), { recursive: true }));
  expect(
    git(place().folder, undefined, '--git-dir=clone.git', 'fsck', '--full', '--strict', '--no-progress'),
  ).toBe('');
  const objects = (folder: string) =>
    git(place().folder, undefined, `--git-dir=${folder}`, 'rev-list', '--objects', '--all').split('\n')
      .length;
  expect(objects('clone.git')).toBe(objects('.imgstore'));
});

const DEPTH = ['--window=50', '--depth=50'];

test.each<[string, 'ofs-delta' | 'ref-delta', (store: Workplace) => void]>([
  [
    'git repack -adf --window=50 --depth=50',
    'ofs-delta',
    (store) => git(store.path('.imgstore'), undefined, 'repack', '-adfq', ...DEPTH),
  ],
  [
    'git pack-objects with bases named by id',
    'ref-delta',
    (store) => {
      const old = packNames(store).flatMap((name) =>
        ['pack', 'idx', 'rev'].map((ending) => `${name}.${ending}`),
      );
      const args = ['pack-objects', '-q', '--all', '--no-reuse-delta', ...DEPTH, 'objects/pack/pack'];
      git(store.path('.imgstore'), '', ...args);
      for (const name of [...old, MIDX_FILE])
        rmSync(store.path('.imgstore/objects/pack', name), { force: true });
    },
  ],
])('imgstore reads and packs what %s made of a history', async (_, kind, repack) => {
  const store = await copyOfStore('copy');
  const [show, stats] = [await place().json('show', 'main'), await place().json('stats')];
  repack(store);
  expect(packNames(store)).toHaveLength(1);
  const packs = new PackFolder(store.path('.imgstore/objects/pack'));
  const [pack] = packs.packs();
  const positions = Array.from({ length: pack!.idx.count }, (_, position) => position);
  expect(positions.filter((each) => pack!.head(pack!.idx.offset(each)).kind === kind).length).toBeGreaterThan(
    20,
  );
  packs.close();

  await expectVersions(store, place());
  expect(await store.json('show', 'main')).toEqual(show);
  const depths = gitDepths(store);
  const deltas = depths.filter((depth) => depth > 0).length;
  const { objects, logicalBytes, uniqueBytes } = stats;
  const after = await store.json('stats');
  expect(after).toMatchObject({ objects, logicalBytes, uniqueBytes, packs: 1, deltas });
  expect(after.chains).toHaveLength(Math.max(...depths) + 1);

  expect((await store.json('pack')).packs).toBe(1);
  store.fsck();
  await expectVersions(store, place());
  expect(await store.json('pack')).toMatchObject({ objects: 0 });
});

test('pack --aggressive over a packed history keeps every version', async () => {
  const store = await copyOfStore('aggressive');
  const { packs, storedBytesAfter } = await store.json('pack', '--aggressive');
  expect(packs).toBe(1);
  expect(storedBytesAfter).toBeLessThanOrEqual(packed[1].storedBytesAfter * 1.01);
  store.fsck();
  await expectVersions(store, place());
});
