import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import { MemoryBytes, MIDX_FILE, Midx, type Pack } from '../../../pack/index.ts';
import { refreshMultiPackIndex } from '../../../store/pack/multi-pack-index.ts';
import { removePacks } from '../../../store/pack/remove-packed.ts';
import { sampleObject, writePack } from '../../pack/pack-objects.ts';
import { git, gitFsck } from '../git.ts';
import { newStore, type TestStore } from '../new-store.ts';

/** A store with one pack for each number, of so many objects. */
async function storeWithPacks(...counts: readonly number[]): Promise<TestStore & { packs: Pack[] }> {
  const made = await newStore();
  for (const [i, count] of counts.entries()) await addPack(made, i, count);
  return { ...made, packs: packsOf(made) };
}

async function addPack({ store }: TestStore, number: number, count: number): Promise<string> {
  const objects = Array.from({ length: count }, (_, n) =>
    sampleObject('blob', Buffer.from(`${number} ${n}`)),
  );
  const stem = await writePack(store.objects.packs.folder, objects);
  store.objects.packs.refresh();
  return stem;
}

const packsOf = ({ store }: TestStore) => [...store.objects.packs.packs()];
const midxPath = ({ store }: TestStore) => join(store.objects.packs.folder, MIDX_FILE);

/** The stems of the packs that the multi-pack-index is over. */
function named(made: TestStore): string[] {
  const midx = new Midx(new MemoryBytes('midx', readFileSync(midxPath(made))));
  return midx.packs.map((name) => join(made.store.objects.packs.folder, name.slice(0, -4)));
}

const stems = (packs: readonly Pack[]) => packs.map(({ stem }) => stem).sort();

test('refreshMultiPackIndex writes one over all packs that stay, which git accepts', async () => {
  const made = await storeWithPacks(5, 4, 3);
  const gone = made.packs[0]!;
  await refreshMultiPackIndex(made.store, [gone]);
  expect(named(made)).toEqual(stems(made.packs.slice(1)));
  await git(made.path, 'multi-pack-index', 'verify');
  await gitFsck(made.path);
  await removePacks(made.store, [gone]);
  made.store.objects.packs.refresh();
  expect(made.store.objects.packs.covered()).toHaveLength(2);
  await git(made.path, 'multi-pack-index', 'verify');
  await gitFsck(made.path);
});

test('refreshMultiPackIndex writes none for fewer than two packs', async () => {
  const made = await storeWithPacks(5, 4);
  await refreshMultiPackIndex(made.store, [made.packs[0]!]);
  expect(existsSync(midxPath(made))).toBe(false);
});

test('refreshMultiPackIndex removes it when one pack is left', async () => {
  const made = await storeWithPacks(5, 4);
  await refreshMultiPackIndex(made.store, []);
  expect(existsSync(midxPath(made))).toBe(true);
  await refreshMultiPackIndex(made.store, [made.packs[1]!]);
  expect(readdirSync(made.store.objects.packs.folder).filter((name) => !name.startsWith('pack-'))).toEqual(
    [],
  );
});

test.each([
  [9, false],
  [10, true],
])('refreshMultiPackIndex, when %d objects came to 70, writes it anew: %s', async (count, anew) => {
  const made = await storeWithPacks(40, 30);
  await refreshMultiPackIndex(made.store, []);
  const before = readFileSync(midxPath(made));
  await addPack(made, 9, count);
  await refreshMultiPackIndex(made.store, []);
  expect(readFileSync(midxPath(made)).equals(before)).toBe(!anew);
});

test('refreshMultiPackIndex writes it anew when it names a pack that goes, before that goes', async () => {
  const made = await storeWithPacks(100, 3, 2);
  await refreshMultiPackIndex(made.store, []);
  const gone = made.packs.filter(({ idx }) => idx.count === 2);
  await refreshMultiPackIndex(made.store, gone);
  expect(named(made)).toEqual(stems(made.packs.filter((pack) => !gone.includes(pack))));
});

test.each<[string, (made: TestStore) => void | Promise<void>]>([
  ['is damaged', (made) => truncateSync(midxPath(made), 100)],
  ['names a pack that is gone', (made) => removePacks(made.store, [packsOf(made)[0]!])],
  ['names a pack that is damaged', (made) => truncateSync(packsOf(made)[0]!.path, 20)],
])('refreshMultiPackIndex writes it anew when it %s', async (_, damage) => {
  const made = await storeWithPacks(5, 4, 3);
  await refreshMultiPackIndex(made.store, []);
  await damage(made);
  made.store.objects.packs.close();
  await refreshMultiPackIndex(made.store, []);
  const packs = packsOf(made);
  expect(packs.length).toBeGreaterThanOrEqual(2);
  expect(named(made)).toEqual(stems(packs));
});

test('refreshMultiPackIndex removes one that is damaged when one pack is left', async () => {
  const made = await storeWithPacks(5);
  writeFileSync(midxPath(made), 'x');
  await refreshMultiPackIndex(made.store, []);
  expect(existsSync(midxPath(made))).toBe(false);
});

test.each(['create', 'write', 'fsync', 'rename', 'fsync-folder'])(
  'refreshMultiPackIndex that fails at %s leaves a store in which git finds all in order',
  async (action) => {
    const made = await storeWithPacks(5, 4, 3);
    await refreshMultiPackIndex(made.store, []);
    const stop = watchPoints((point) => {
      if (point === `midx.${action}`) throw Object.assign(new Error('x'), { code: 'EIO' });
    });
    const failed = refreshMultiPackIndex(made.store, [made.packs[0]!]).finally(stop);
    await expect(failed).rejects.toMatchObject({ code: 'IO' });
    await git(made.path, 'multi-pack-index', 'verify');
    await gitFsck(made.path);
    await refreshMultiPackIndex(made.store, [made.packs[0]!]);
    expect(named(made)).toEqual(stems(made.packs.slice(1)));
  },
);
