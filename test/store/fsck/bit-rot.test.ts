import { spawnSync } from 'node:child_process';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packStore, repairStore, Store } from '../../../store/index.ts';
import { noise } from '../../qcow2/qemu.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, SMALL, type TestStore } from '../new-store.ts';
import { inflatesAlike } from './inflates-alike.ts';
import { copyOf, flipBit, fsck } from './store-copies.ts';

/** Random, but the same in every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function gitFinds(path: string): boolean {
  return spawnSync('git', ['--git-dir', path, 'fsck', '--full', '--strict']).status !== 0;
}

/** What is judged: names of files, and how the store came to be. */
const STORES: Readonly<Record<string, (made: TestStore) => Promise<void>>> = {
  'packed by imgstore': async (made) => {
    await packStore(made.store);
    await git(made.path, 'pack-refs', '--all');
    await commitBytes(made, 'db', noise(SMALL * 3, 4));
  },
  'repacked by git': async ({ path }) => {
    await git(path, 'repack', '-adfb', '--depth=50', '--window=50');
    await git(path, 'commit-graph', 'write', '--reachable');
  },
  'in several packs': async (made) => {
    await packStore(made.store);
    for (const seed of [5, 6]) {
      await commitBytes(made, 'db', noise(SMALL * 4, seed));
      await git(made.path, 'repack', '-d');
    }
    await git(made.path, 'multi-pack-index', 'write');
  },
};

/** Bits of each file; with more by hand: IMGSTORE_BITS=100. */
const BITS = Number(process.env.IMGSTORE_BITS ?? 2);

/** Versions of one disk, and the images that they were. */
async function storeLike(kind: string): Promise<{ readonly made: TestStore; readonly images: string[] }> {
  const made = await newStore();
  const disk = noise(SMALL * 12, 1);
  const images: string[] = [];
  for (let version = 0; version < 3; version++) {
    noise(300, 2 + version).copy(disk, SMALL * (3 + version) + 50);
    await commitBytes(made, 'web', disk);
    images.push(made.file(`image-${version}.raw`));
    writeFileSync(images.at(-1)!, disk);
  }
  await git(made.path, 'tag', '-a', '-m', 'good', 'good', 'web~1');
  await STORES[kind]!(made);
  for (const seed of [4, 5, 6]) {
    images.push(made.file(`db-${seed}.raw`));
    writeFileSync(images.at(-1)!, noise(SMALL * (seed === 4 ? 3 : 4), seed));
  }
  return { made, images };
}

function filesOf(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
    .filter((name) => JUDGED.test(name));
}

/** `objects/info/packs` is a list for transfers over plain HTTP: nothing else reads it. */
const JUDGED = /^(?:objects(?!\/info\/packs)|refs|logs|packed-refs|HEAD)/;

test.each(Object.keys(STORES))(
  'checkStore finds what git finds when a bit flips in a store %s',
  async (kind) => {
    const { made } = await storeLike(kind);
    const files = filesOf(made.path);
    const next = numbers(7);
    let found = 0;
    for (const name of files) {
      const bits = statSync(join(made.path, name)).size * 8;
      for (let i = 0; i < BITS && bits > 0; i++) {
        const path = await copyOf(made.path);
        const bit = next(bits);
        flipBit(join(path, name), bit);
        const { clean, ...report } = await fsck(path);
        const what = `${name} bit ${bit}: ${JSON.stringify(report)}`;
        if (gitFinds(path)) expect(clean, what).toBe(false);
        // Refs and logs have bytes that say nothing: spaces, messages, times. All of objects and indexes is under a checksum, but for the bits that fill up a loose object's last byte.
        else if (name.startsWith('objects/') && !inflatesAlike(join(made.path, name), join(path, name)))
          expect(clean, what).toBe(false);
        if (!clean) found++;
      }
    }
    expect(found).toBeGreaterThan(files.length);
  },
);

test.each(Object.keys(STORES))(
  'repairStore brings back all but commits and tags when a bit flips in a store %s',
  async (kind) => {
    const { made, images } = await storeLike(kind);
    const next = numbers(11);
    for (const name of filesOf(made.path)) {
      const bits = statSync(join(made.path, name)).size * 8;
      for (let i = 0; i < Math.ceil(BITS / 2) && bits > 0; i++) {
        const path = await copyOf(made.path);
        const bit = next(bits);
        flipBit(join(path, name), bit);
        if ((await fsck(path)).clean) continue;
        const store = await Store.open(path);
        const report = await repairStore(store, { from: images });
        store.close();
        const what = `${name} bit ${bit}: ${JSON.stringify(report)}`;
        // What no image has: commits and tags.
        const isHistory = report.missing.length > 0 && report.missing.every((each) => isOfHistory(each.kind));
        if (!isHistory) expect(report.clean, what).toBe(true);
        if (report.clean) expect(gitFinds(path), what).toBe(false);
      }
    }
  },
);

function isOfHistory(kind: string | undefined): boolean {
  return kind === undefined || kind === 'commit' || kind === 'tag';
}
