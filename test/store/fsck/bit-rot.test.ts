import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packStore } from '../../../store/index.ts';
import { noise } from '../../qcow2/qemu.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, SMALL, type TestStore } from '../new-store.ts';
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

test.each(Object.keys(STORES))(
  'checkStore finds what git finds when a bit flips in a store %s',
  async (kind) => {
    const made = await newStore();
    const disk = noise(SMALL * 12, 1);
    for (let version = 0; version < 3; version++) {
      noise(300, 2 + version).copy(disk, SMALL * (3 + version) + 50);
      await commitBytes(made, 'web', disk);
    }
    await git(made.path, 'tag', '-a', '-m', 'good', 'good', 'web~1');
    await STORES[kind]!(made);
    const files = readdirSync(made.path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(made.path.length + 1))
      // objects/info/packs is a list for transfers over plain HTTP: nothing else reads it.
      .filter((name) => /^(objects|refs|logs|packed-refs|HEAD)/.test(name) && name !== 'objects/info/packs');
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
        // Refs and logs have bytes that say nothing: spaces, messages, times. All of objects and indexes is under a checksum.
        else if (name.startsWith('objects/')) expect(clean, what).toBe(false);
        if (!clean) found++;
      }
    }
    expect(found).toBeGreaterThan(files.length);
  },
);
