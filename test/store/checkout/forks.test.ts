import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Backing, type CheckoutRequest, checkoutVersion } from '../../../store/index.ts';
import { createTag } from '../../../store/refs/edit.ts';
import { noise, qemuBytes, qemuCheck, qemuImg } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, SMALL, type TestStore } from '../new-store.ts';

/** Bytes that a folder takes on disk. */
function diskUsage(folder: string): number {
  return 1024 * Number(execFileSync('du', ['-sk', folder], { encoding: 'utf8' }).split('\t')[0]);
}

/** Names of the files that an image stands on, as QEMU follows them, the nearest first. */
async function chainOf(image: string): Promise<string[]> {
  const chain = JSON.parse(await qemuImg('info', '--backing-chain', '--output=json', image));
  return (chain as { filename: string }[]).slice(1).map(({ filename }) => filename.split('/').at(-1)!);
}

/** A history of `web` of one changed cluster a version. */
async function history(made: TestStore, versions: number): Promise<Buffer[]> {
  const disks = Array.from({ length: versions }, (_, i) => diskOf([i + 1, 9, 0, i % 2, 7]));
  for (const disk of disks) await commitBytes(made, 'web', disk);
  return disks;
}

function basesIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.startsWith('base-'));
}

describe('a history of six versions', () => {
  test.each([1, 2, 4, 5, 64])(
    'checkoutVersion writes a chain of at most %i files below the top',
    async (depth) => {
      const made = await newStore();
      const disks = await history(made, 6);
      const image = made.file('out/top.qcow2');
      mkdirSync(made.file('out'));
      await checkoutVersion(made.store, { revision: 'web', output: image, backing: 'chain', depth });
      const below = Math.min(depth, 5);
      expect(await chainOf(image)).toHaveLength(below);
      expect(basesIn(made.file('out'))).toHaveLength(below);
      expect((await qemuBytes(image)).equals(disks[5]!)).toBe(true);
      await qemuCheck(image);
    },
  );

  test('checkoutVersion does not take a base file that stands on more files than there may be', async () => {
    const made = await newStore();
    await history(made, 6);
    const all: CheckoutRequest = { revision: 'web', output: made.file('a.qcow2'), backing: 'chain' };
    await checkoutVersion(made.store, all);
    const shallow = { ...all, output: made.file('b.qcow2'), depth: 2 };
    await expect(checkoutVersion(made.store, shallow)).rejects.toMatchObject({
      code: 'EXISTS',
      message: expect.stringContaining('stands on 3 more files, where --depth leaves room for 0'),
    });
    await checkoutVersion(made.store, { ...shallow, depth: 5 });
    expect(await chainOf(made.file('b.qcow2'))).toHaveLength(5);
  });

  test.each([
    [0, 'chain'],
    [65, 'chain'],
    [-1, 'chain'],
    [1.5, 'fork'],
    [Number.NaN, 'chain'],
    [3, 'none'],
    [3, { file: 'base.qcow2' }],
  ] as [number, Backing][])(
    'checkoutVersion throws USAGE for a depth of %s with %o',
    async (depth, backing) => {
      const made = await newStore();
      await history(made, 2);
      const output = made.file('top.qcow2');
      const before = readdirSync(made.file('.'));
      await expect(
        checkoutVersion(made.store, { revision: 'web', output, backing, depth }),
      ).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('--depth') });
      expect(readdirSync(made.file('.'))).toEqual(before);
    },
  );
});

const CLUSTER = 65536;
const BASE_CLUSTERS = 512;
const CHANGED_CLUSTERS = 16;

test('checkoutVersion lets ten siblings share their base on disk, also in another folder', async () => {
  const made = await newStore(CLUSTER);
  const base = noise(BASE_CLUSTERS * CLUSTER, 1);
  await commitBytes(made, 'golden', base);
  const names = Array.from({ length: 10 }, (_, i) => `vm${i}`);
  for (const [i, name] of names.entries()) {
    noise(CHANGED_CLUSTERS * CLUSTER, 10 + i).copy(base, 20 * i * CLUSTER);
    await commitBytes(made, name, base, { parent: 'golden' });
    noise(BASE_CLUSTERS * CLUSTER, 1).copy(base);
  }
  const folder = made.file('vms');
  mkdirSync(folder);
  for (const name of names) {
    const output = join(folder, `${name}.qcow2`);
    const { backing } = await checkoutVersion(made.store, { revision: name, output, backing: 'fork' });
    expect(backing).toBe(`base-${(await git(made.path, 'rev-parse', 'golden')).slice(0, 12)}-vda.qcow2`);
  }
  expect(basesIn(folder)).toHaveLength(1);
  const content = (BASE_CLUSTERS + 10 * CHANGED_CLUSTERS) * CLUSTER;
  expect(diskUsage(folder)).toBeLessThanOrEqual(1.1 * content);
  const moved = made.file('elsewhere');
  for (const place of [folder, moved]) {
    if (place === moved) renameSync(folder, moved);
    for (const name of names) {
      const image = join(place, `${name}.qcow2`);
      const flat = made.file(`${name}.flat.raw`);
      await checkoutVersion(made.store, { revision: name, output: flat, force: true });
      await qemuCheck(image);
      await qemuImg('compare', '-f', 'qcow2', '-F', 'raw', image, flat);
    }
  }
});

describe('checkoutVersion --backing fork', () => {
  test('makes no base where history does not fork, and tags make no fork', async () => {
    const made = await newStore();
    const disks = await history(made, 4);
    await createTag(made.store, 'v2', 'web~2');
    const output = made.file('web.qcow2');
    const result = await checkoutVersion(made.store, { revision: 'web', output, backing: 'fork' });
    expect(result.backing).toBeNull();
    expect((await qemuBytes(output)).equals(disks[3]!)).toBe(true);
  });

  test('stands on each fork before it, and on the version itself where that is one', async () => {
    const made = await newStore();
    const disks = await history(made, 5);
    await commitBytes(made, 'early', diskOf([50]), { parent: 'web~3' });
    await commitBytes(made, 'late', diskOf([60, 9]), { parent: 'web' });
    const ids = await Promise.all(['web~3', 'web'].map((name) => git(made.path, 'rev-parse', name)));
    const bases = ids.map((id) => `base-${id.slice(0, 12)}-vda.qcow2`).reverse();
    const chains = {
      late: bases,
      web: bases,
      'web~1': bases.slice(1),
      'web~3': bases.slice(1),
      early: bases.slice(1),
    };
    for (const [revision, chain] of Object.entries(chains)) {
      const output = made.file(`${revision}.qcow2`);
      await checkoutVersion(made.store, { revision, output, backing: 'fork' });
      expect(await chainOf(output), revision).toEqual(chain);
      await qemuCheck(output);
    }
    expect((await qemuBytes(made.file('web.qcow2'))).equals(disks[4]!)).toBe(true);
    expect((await qemuBytes(made.file('web~3.qcow2'))).equals(disks[1]!)).toBe(true);
    expect((await qemuBytes(made.file('late.qcow2'))).subarray(0, 2 * SMALL).equals(diskOf([60, 9]))).toBe(
      true,
    );
    // A branch that ends where another goes on shares it as well.
    await checkoutVersion(made.store, {
      revision: 'late',
      output: made.file('one.qcow2'),
      backing: 'fork',
      depth: 2,
    });
  });

  test('goes on when another branch is damaged', async () => {
    const made = await newStore();
    await history(made, 2);
    await commitBytes(made, 'other', diskOf([50]), { parent: 'web~1' });
    await writeFile(join(made.path, 'refs/heads/broken'), `${'1'.repeat(64)}\n`);
    const output = made.file('web.qcow2');
    const { backing } = await checkoutVersion(made.store, { revision: 'web', output, backing: 'fork' });
    expect(backing).toMatch(/^base-/);
  });

  test('throws EXISTS when a base file has become another', async () => {
    const made = await newStore();
    await history(made, 2);
    await commitBytes(made, 'other', diskOf([50]), { parent: 'web~1' });
    const first = { revision: 'web', output: made.file('web.qcow2'), backing: 'fork' } as const;
    const { backing } = await checkoutVersion(made.store, first);
    const path = made.file(backing!);
    await qemuImg('convert', '-O', 'qcow2', '-f', 'raw', made.file('other.raw'), `${path}.new`);
    renameSync(`${path}.new`, path);
    const before = await readFile(path);
    await expect(
      checkoutVersion(made.store, { ...first, revision: 'other', output: made.file('other.qcow2') }),
    ).rejects.toMatchObject({ code: 'EXISTS' });
    expect((await readFile(path)).equals(before)).toBe(true);
  });
});
