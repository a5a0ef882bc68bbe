import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isImgstoreError } from '../../errors/index.ts';
import { checkoutVersion, Store } from '../../store/index.ts';
import { Random } from '../qcow2/differential/random.ts';
import { diskBytes } from '../store/commit/disk-bytes.ts';
import { inflatesAlike } from '../store/fsck/inflates-alike.ts';
import { git, gitFsck } from '../store/git.ts';
import { quickFolder } from './quick-folder.ts';
import { runHere } from './run-here.ts';
import { digestOf, fileDigest, makeHistory } from './sample-history.ts';

const FLIPS = Number(process.env.IMGSTORE_FLIPS ?? 60);
const SEED = Number(process.env.IMGSTORE_SEED ?? 1);

const ID = /^[0-9a-f]{64}$/;

/** A bit of a file that is to be turned over. */
interface Flip {
  readonly file: string;
  readonly byte: number;
  readonly bit: number;
}

/** Half of the flips by the size of files, half in any file, as most of a store's files are small beside its packs. */
function chooseFlip(files: ReadonlyMap<string, number>, random: Random): Flip {
  const filled = [...files].filter(([, size]) => size > 0);
  const total = filled.reduce((sum, [, size]) => sum + size, 0);
  let [file, size] = random.pick(filled);
  if (random.once(2)) {
    let at = random.below(total);
    for ([file, size] of filled) {
      if (at < size) break;
      at -= size;
    }
  }
  return { file, byte: random.below(size), bit: random.below(8) };
}

function turnOver(path: string, { byte, bit }: Flip): void {
  const bytes = readFileSync(path);
  bytes[byte]! ^= 1 << bit;
  rmSync(path);
  writeFileSync(path, bytes);
}

/** Sizes of the files of a store by relative path. */
function filesOfStore(store: string): Map<string, number> {
  const names = (readdirSync(store, { recursive: true }) as string[]).sort();
  const files = names.filter((name) => statSync(join(store, name)).isFile());
  return new Map(files.map((name) => [name, statSync(join(store, name)).size]));
}

/**
 * Reads every version in every way. Returns what came back as other bytes than were stored, and failures that are none of a damaged store.
 * @param all failures of a damaged store too
 */
async function wrongReads(
  folder: string,
  versions: ReadonlyMap<string, string>,
  all = false,
): Promise<string[]> {
  const wrong: string[] = [];
  const attempt = async (what: string, wanted: string, read: (store: Store) => Promise<string>) => {
    let store: Store | undefined;
    try {
      store = await Store.open(folder);
      const digest = await read(store);
      if (digest !== wanted) wrong.push(`${what}: other bytes`);
    } catch (error) {
      if (all || !isImgstoreError(error) || /internal/i.test(error.code))
        wrong.push(`${what}: ${String(error)}`);
    } finally {
      store?.close();
    }
  };
  for (const [revision, digest] of versions) {
    await attempt(`cat ${revision}`, digest, async (store) => digestOf(await diskBytes(store, revision)));
    if (ID.test(revision)) continue;
    const output = join(folder, 'out.raw');
    await attempt(`checkout ${revision}`, digest, async (store) => {
      await checkoutVersion(store, { revision, output, force: true });
      return fileDigest(output);
    });
  }
  return wrong;
}

async function diskOfVersion(folder: string, id: string): Promise<Buffer> {
  const store = await Store.open(folder);
  try {
    return await diskBytes(store, id);
  } finally {
    store.close();
  }
}

/** Where `fsck` need not find a bit that is turned over, and why. */
const HARMLESS: readonly (readonly [place: RegExp, reason: string])[] = [
  [/^imgstore\//, 'caches are made anew, and what processes say of their work is for the moment'],
  [/^logs\//, 'names, times and messages say nothing of where a ref was; the ids are checked'],
  [/^(config|description)$/, 'comments, and settings for what is stored from now on'],
  [/^HEAD$/, 'names the image that was committed last, or none'],
  [
    /^packed-refs$/,
    'the name of a ref, which leads to the same version by another name; the ids are checked',
  ],
];

/** What no image has, so that `--repair` cannot bring it back out of one. */
const NOT_IN_IMAGES: ReadonlySet<string> = new Set(['commit', 'tag']);

/** What is wrong with how `fsck` finds and repairs a bit that was turned over. */
async function repairFaults(
  home: string,
  damaged: string,
  { file }: Flip,
  images: readonly string[],
  versions: ReadonlyMap<string, string>,
): Promise<string[]> {
  const before = await runHere(damaged, 'fsck', '--json');
  if (before.status === 0) {
    // No checksum covers the bits that fill up a loose object's last byte.
    const saysTheSame = inflatesAlike(join(home, '.imgstore', file), join(damaged, '.imgstore', file));
    const isHarmless = saysTheSame || HARMLESS.some(([place]) => place.test(file));
    return isHarmless ? [] : [`${file}: fsck has not found it`];
  }
  // Of refs and settings there is no second copy.
  if (before.status !== 3 || !file.startsWith('objects/')) return [];
  const report = JSON.parse(before.stdout) as { damaged: { id: string }[] };
  const types = await Promise.all(
    report.damaged.map(({ id }) => git(join(home, '.imgstore'), 'cat-file', '-t', id)),
  );
  const from = images.flatMap((image) => ['--from', image]);
  const { status, stdout, stderr } = await runHere(damaged, 'fsck', '--repair', ...from);
  if (types.some((type) => NOT_IN_IMAGES.has(type))) {
    const lost = new Set(report.damaged.map(({ id }) => id));
    const others = [...versions].filter(([revision]) => ID.test(revision) && !lost.has(revision));
    return wrongReads(damaged, new Map(others), true);
  }
  const left = status === 0 ? [] : [`${file}: repair: exit code ${status}: ${stderr}${stdout}`];
  await gitFsck(join(damaged, '.imgstore'));
  return [...left, ...(await wrongReads(damaged, versions, true))];
}

/** Images that have all that was ever stored. */
function writeImages(folder: string, disks: readonly Buffer[]): string[] {
  return disks.map((bytes, i) => {
    const path = join(folder, `${i}.raw`);
    writeFileSync(path, bytes);
    return path;
  });
}

test('a bit that is turned over anywhere in a store is never read, is found by fsck and mended by fsck --repair', {
  timeout: 0,
}, async () => {
  const folder = await quickFolder();
  const home = join(folder, 'home');
  const { digests } = await makeHistory(home);
  const store = join(home, '.imgstore');
  const versions = new Map(digests);
  for (const ref of ['web', 'db', 'old', 'test/web', 'v1', 'v2'])
    versions.set(ref, digests.get(await git(store, 'rev-parse', `${ref}^{commit}`))!);
  expect(await wrongReads(home, versions)).toEqual([]);
  const files = filesOfStore(store);
  const random = new Random(SEED);
  const images = writeImages(
    folder,
    await Promise.all([...digests.keys()].map(async (id) => diskOfVersion(home, id))),
  );
  const found: string[] = [];
  for (let i = 0; i < FLIPS; i++) {
    const flip = chooseFlip(files, random);
    const damaged = join(folder, 'damaged');
    rmSync(damaged, { recursive: true, force: true });
    cpSync(home, damaged, { recursive: true });
    turnOver(join(damaged, '.imgstore', flip.file), flip);
    for (const wrong of await wrongReads(damaged, versions))
      found.push(`${flip.file}, byte ${flip.byte}, bit ${flip.bit}: ${wrong}`);
    found.push(...(await repairFaults(home, damaged, flip, images, versions)));
  }
  console.log(`bit rot: ${FLIPS} bits of ${files.size} files turned over, seed ${SEED}`);
  expect(found).toEqual([]);
});
