import { writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isZero } from '../../../block/index.ts';
import {
  commitVersion,
  diffVersions,
  findDisk,
  mapDisk,
  type RangeChange,
  readVersion,
  Store,
} from '../../../store/index.ts';
import { noise } from '../../qcow2/qemu.ts';
import { diskOf, diskPlans, planned } from '../disks.ts';
import { commitBytes, newStore, SMALL, type TestStore } from '../new-store.ts';

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

const diff = ({ store }: TestStore, before: string, after: string) => all(diffVersions(store, before, after));

/** A cluster's bytes; undefined for zeros and beyond the end. */
function cluster(disk: Buffer, number: number): Buffer | undefined {
  const bytes = disk.subarray(number * SMALL, (number + 1) * SMALL);
  return isZero(bytes) ? undefined : bytes;
}

/** What differs: cluster by cluster as far as both disks go, then what only the longer one has. */
function modelDiff(before: Buffer, after: Buffer): Omit<RangeChange, 'disk'>[] {
  const changes: Omit<RangeChange, 'disk'>[] = [];
  const common = Math.min(before.length, after.length);
  for (let offset = 0; offset < common; offset += SMALL) {
    const end = Math.min(offset + SMALL, common);
    if (before.subarray(offset, end).equals(after.subarray(offset, end))) continue;
    const [x, y] = [before, after].map((disk) => cluster(disk, offset / SMALL));
    const kind = x === undefined ? 'added' : y === undefined ? 'removed' : 'changed';
    const last = changes.at(-1);
    if (last?.kind === kind && last.offset + last.length === offset)
      changes[changes.length - 1] = { ...last, length: end - last.offset };
    else changes.push({ kind, offset, length: end - offset });
  }
  if (after.length > common) changes.push({ kind: 'added', offset: common, length: after.length - common });
  if (before.length > common)
    changes.push({ kind: 'removed', offset: common, length: before.length - common });
  return changes;
}

const disks = diskPlans(24, 0, 1, 700);

test('diffVersions gives what a model gives, in either direction', async () => {
  const made = await newStore(SMALL, { unpackLimit: 8 });
  await fc.assert(
    fc.asyncProperty(disks, disks, async (...pair) => {
      const [a, b] = pair.map(planned) as [Buffer, Buffer];
      const x = await commitBytes(made, 'a', a, { allowEmpty: true });
      const y = await commitBytes(made, 'b', b, { allowEmpty: true });
      const named = (changes: Omit<RangeChange, 'disk'>[]) =>
        changes.map((change) => ({ disk: 'vda', ...change }));
      expect(await diff(made, x.commit, y.commit)).toEqual(named(modelDiff(a, b)));
      expect(await diff(made, y.commit, x.commit)).toEqual(named(modelDiff(b, a)));
      expect(await diff(made, x.commit, x.commit)).toEqual([]);
    }),
    { numRuns: 25 },
  );
});

test('diffVersions compares disks whose maps have different heights', async () => {
  const made = await newStore(SMALL, { unpackLimit: 8 });
  const small = noise(256 * SMALL, 1);
  const grown = Buffer.concat([small, noise(10 * SMALL, 2)]);
  noise(SMALL, 3).copy(grown, 100 * SMALL);
  const x = await commitBytes(made, 'web', small);
  const y = await commitBytes(made, 'web', grown);
  expect(await diff(made, x.commit, y.commit)).toEqual([
    { disk: 'vda', kind: 'changed', offset: 100 * SMALL, length: SMALL },
    { disk: 'vda', kind: 'added', offset: 256 * SMALL, length: 10 * SMALL },
  ]);
});

test('diffVersions shows disks that only one version has as added or removed', async () => {
  const made = await newStore();
  await writeFile(made.file('a.raw'), diskOf([1]));
  await writeFile(made.file('b.raw'), diskOf([0, 2]));
  const commit = async (...names: string[]) =>
    (
      await commitVersion(made.store, {
        disks: names.map((name) => ({ name, path: made.file(`${name}.raw`) })),
        branch: 'web',
      })
    ).commit;
  const one = await commit('a');
  const both = await commit('a', 'b');
  expect(await diff(made, one, both)).toEqual([{ disk: 'b', kind: 'added', offset: 0, length: 2 * SMALL }]);
  expect(await diff(made, both, one)).toEqual([{ disk: 'b', kind: 'removed', offset: 0, length: 2 * SMALL }]);
});

test('diffVersions throws UNSUPPORTED for versions whose clusters differ in size', async () => {
  const made = await newStore();
  const x = await commitBytes(made, 'web', diskOf([1]));
  await writeFile(`${made.path}/config`, '[imgstore]\n\tclusterSize = 65536\n', { flag: 'a' });
  const store = await Store.open(made.path);
  const y = await commitBytes({ ...made, store }, 'web', diskOf([1]));
  expect(y.unchanged).toBe(false);
  await expect(diff({ ...made, store }, x.commit, y.commit)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  store.close();
});

test('mapDisk tells where a disk has data, as a model does', async () => {
  const made = await newStore(SMALL, { unpackLimit: 8 });
  await fc.assert(
    fc.asyncProperty(disks, async (plan) => {
      const disk = planned(plan);
      const { commit } = await commitBytes(made, 'web', disk, { allowEmpty: true });
      const ranges = await all(
        mapDisk(made.store, findDisk(readVersion(made.store.objects, commit), undefined)),
      );
      let at = 0;
      for (const [i, { offset, length, kind }] of ranges.entries()) {
        expect(offset).toBe(at);
        at += length;
        expect(kind).not.toBe(ranges[i - 1]?.kind);
        for (let number = offset / SMALL; number * SMALL < at; number++)
          expect(cluster(disk, number) === undefined).toBe(kind === 'zero');
      }
      expect(at).toBe(disk.length);
    }),
    { numRuns: 25 },
  );
});
