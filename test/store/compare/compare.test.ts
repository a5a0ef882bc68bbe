import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { commitVersion, compare, createTag, Store } from '../../../store/index.ts';
import { noise, qemuImg } from '../../qcow2/qemu.ts';
import { type DiskPlan, diskOf, diskPlans, planned } from '../disks.ts';
import { commitBytes, newStore, SMALL, type TestStore } from '../new-store.ts';

/** The first place at which two disks differ, the shorter one made longer by zeros; undefined for none. */
function firstDifference(a: Buffer, b: Buffer): number | undefined {
  const length = Math.max(a.length, b.length);
  const [x, y] = [a, b].map((disk) => Buffer.concat([disk, Buffer.alloc(length - disk.length)]));
  return x!.equals(y!) ? undefined : x!.findIndex((byte, i) => byte !== y![i]);
}

/** What compare says must be true: same or not, and about where. */
function agree(made: Awaited<ReturnType<typeof compare>>, a: Buffer, b: Buffer): void {
  const first = firstDifference(a, b);
  expect(made.identical).toBe(first === undefined);
  if (first === undefined) return;
  expect(made.offset).toBeLessThanOrEqual(first);
  expect(made.offset).toBeGreaterThan(first - SMALL);
}

/** Two disks, the second one by its own plan or as the first with a change: pairs are alike more often than chance would have them. */
type PairPlan = readonly [
  DiskPlan,
  DiskPlan | { readonly zeros: number } | { readonly flip: number } | { readonly tail: number },
];

const disks = diskPlans(20, 0, 1, 512, 4000);
const pairs: fc.Arbitrary<PairPlan> = fc.tuple(
  disks,
  fc.oneof(
    disks,
    fc.record({ zeros: fc.nat(3 * SMALL) }),
    fc.record({ flip: fc.nat() }),
    fc.record({ tail: fc.integer({ min: 1, max: 2 * SMALL }) }),
  ),
);

function pairOf([first, second]: PairPlan): [Buffer, Buffer] {
  const disk = planned(first);
  if ('zeros' in second) return [disk, Buffer.concat([disk, Buffer.alloc(second.zeros)])];
  if ('tail' in second) return [disk, Buffer.concat([disk, Buffer.alloc(second.tail - 1), Buffer.of(1)])];
  if (!('flip' in second)) return [disk, planned(second)];
  const other = Buffer.from(disk);
  other[second.flip % other.length]! ^= 1;
  return [disk, other];
}

test('compare of two versions says what a comparison of their bytes says', async () => {
  const made = await newStore(SMALL, { unpackLimit: 8 });
  await fc.assert(
    fc.asyncProperty(pairs, async (pair) => {
      const [a, b] = pairOf(pair);
      await commitBytes(made, 'a', a, { allowEmpty: true });
      await commitBytes(made, 'b', b, { allowEmpty: true });
      agree(await compare(made.store, { revision: 'a', other: 'b' }), a, b);
      agree(await compare(made.store, { revision: 'b', other: 'a' }), a, b);
    }),
    { numRuns: 25 },
  );
});

test('compare of a version and a file says what a comparison of their bytes says', async () => {
  const made = await newStore(SMALL, { unpackLimit: 8 });
  await fc.assert(
    fc.asyncProperty(pairs, async (pair) => {
      const [a, b] = pairOf(pair);
      await commitBytes(made, 'a', a, { allowEmpty: true });
      await writeFile(made.file('b.raw'), b);
      agree(await compare(made.store, { revision: 'a', other: made.file('b.raw') }), a, b);
    }),
    { numRuns: 25 },
  );
});

test('compare takes versions whose clusters differ in size', async () => {
  const small = await newStore(SMALL);
  const disk = noise(200_000, 1);
  await commitBytes(small, 'web', disk);
  await writeFile(`${small.path}/config`, '[imgstore]\n\tclusterSize = 65536\n', { flag: 'a' });
  const store = await Store.open(small.path);
  await commitBytes({ ...small, store }, 'large', disk);
  disk[150_000]! ^= 1;
  await commitBytes({ ...small, store }, 'other', disk);
  expect(await compare(store, { revision: 'web', other: 'large' })).toMatchObject({ identical: true });
  expect(await compare(store, { revision: 'web', other: 'other' })).toMatchObject({
    identical: false,
    offset: Math.floor(150_000 / SMALL) * SMALL,
  });
  store.close();
});

test('compare reads a qcow2 image', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 0, 2]));
  const image = made.file('web.qcow2');
  await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', made.file('web.raw'), image);
  expect(await compare(made.store, { revision: 'web', other: image })).toMatchObject({ identical: true });
});

test('compare takes a name that is both a version and a file for the version, unless a format is given', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1]));
  await commitBytes(made, 'package.json', diskOf([1]));
  expect(existsSync('package.json')).toBe(true);
  const request = { revision: 'web', other: 'package.json' };
  expect(await compare(made.store, request)).toMatchObject({ identical: true });
  expect(await compare(made.store, { ...request, format: 'raw' })).toMatchObject({ identical: false });
});

test('compare throws NOT_FOUND for what is neither, and for an unknown version', async () => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1]));
  await expect(compare(made.store, { revision: 'web', other: made.file('none.raw') })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  await expect(compare(made.store, { revision: 'none', other: 'web' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  await createTag(made.store, 'v1', 'web', { message: 'm' });
  expect(await compare(made.store, { revision: 'v1', other: 'web' })).toMatchObject({ identical: true });
});

describe('several disks', () => {
  async function commitTwo(
    { store, file }: TestStore,
    branch: string,
    names: readonly string[],
    plans: readonly number[][],
  ) {
    const list = names.map((name) => ({ name, path: file(`${branch}-${name}.raw`) }));
    for (const [i, { path }] of list.entries()) await writeFile(path, diskOf(plans[i]!));
    await commitVersion(store, { disks: list, branch });
  }

  test('compare of versions looks at every disk unless one is named', async () => {
    const made = await newStore();
    await commitTwo(made, 'x', ['a', 'b'], [[1], [2, 3]]);
    await commitTwo(made, 'y', ['a', 'b'], [[1], [2, 4]]);
    await commitTwo(made, 'z', ['a', 'c'], [[1], [2, 4]]);
    const all = { revision: 'x', other: 'y' };
    expect(await compare(made.store, all)).toMatchObject({ identical: false, disk: 'b', offset: SMALL });
    expect(await compare(made.store, { ...all, disk: 'a' })).toMatchObject({ identical: true });
    expect(await compare(made.store, { revision: 'x', other: 'z' })).toMatchObject({
      identical: false,
      disk: 'b',
    });
    await expect(compare(made.store, { revision: 'x', other: 'z', disk: 'b' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('compare with a file wants to know which disk', async () => {
    const made = await newStore();
    await commitTwo(made, 'x', ['a', 'b'], [[1], [2, 3]]);
    const request = { revision: 'x', other: made.file('x-b.raw') };
    await expect(compare(made.store, request)).rejects.toMatchObject({ code: 'USAGE' });
    expect(await compare(made.store, { ...request, disk: 'b' })).toMatchObject({ identical: true });
  });
});
