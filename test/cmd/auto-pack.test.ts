import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { objectId } from '../../objects/index.ts';
import { noise } from '../objects/noise.ts';
import { Workplace } from './imgstore.ts';
import { configure, packNames } from './packed-store.ts';
import { CLUSTER, disk, writeDisk } from './sample.ts';

/** The folder of loose objects by which a commit judges how many there are. */
const SAMPLED = '17';

/** Seeds of clusters whose blobs go into that folder. */
const sampledSeeds = seedsOf(3);

function seedsOf(count: number): number[] {
  const seeds: number[] = [];
  for (let seed = 0; seeds.length < count; seed++)
    if (objectId('blob', noise(CLUSTER, seed)).startsWith(SAMPLED)) seeds.push(seed);
  return seeds;
}

const NOTICE = 'packing the store in the background\n';
const lockOf = (place: Workplace) => place.path('.imgstore/imgstore/locks/pack.lock');

/** Waits until something holds; the test's own limit ends what never does. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(20);
}

/** Waits until no process packs a store any more; by the command line that names it. */
async function idle(place: Workplace): Promise<void> {
  await until(() => !readdirSync('/proc').some((name) => /^\d+$/.test(name) && packs(name, place)));
}

function packs(process: string, place: Workplace): boolean {
  try {
    const words = readFileSync(`/proc/${process}/cmdline`, 'utf8').split('\0');
    return words.includes('pack') && words.includes(place.path('.imgstore'));
  } catch {
    // It has ended.
    return false;
  }
}

/** Waits until everything is packed. */
async function packed(place: Workplace): Promise<void> {
  await idle(place);
  expect(looseFolders(place)).toEqual([]);
  expect(packNames(place)).toHaveLength(1);
}

function looseFolders(place: Workplace): string[] {
  return readdirSync(place.path('.imgstore/objects')).filter((name) => /^[0-9a-f]{2}$/.test(name));
}

async function storeWith(autoPack: number): Promise<Workplace> {
  const place = await Workplace.withStore();
  configure(place, { autoPack });
  return place;
}

test('commit starts pack in the background when loose objects come to imgstore.autoPack', async () => {
  // One object in one of 256 folders stands for 256.
  const place = await storeWith(512);
  await writeDisk(place, 'a.raw', sampledSeeds[0]);
  expect(await place.run('commit', 'a.raw')).toMatchObject({ status: 0, stderr: '' });
  await writeDisk(place, 'b.raw', sampledSeeds[1]);
  expect(await place.run('commit', 'b.raw')).toMatchObject({ status: 0, stderr: NOTICE });
  await packed(place);
  place.fsck();
  for (const [i, image] of ['a', 'b'].entries())
    expect((await place.run('cat', image)).bytes.equals(disk(sampledSeeds[i]))).toBe(true);
  // What is packed is not counted.
  await writeDisk(place, 'c.raw', sampledSeeds[2]);
  expect((await place.run('commit', 'c.raw')).stderr).toBe('');
});

test('commit --quiet and commit --json start pack without a word', async () => {
  for (const option of ['--quiet', '--json']) {
    const place = await storeWith(1);
    await writeDisk(place, 'a.raw', sampledSeeds[0]);
    const { stdout, stderr } = await place.run('commit', 'a.raw', option);
    expect(stderr).toBe(option === '--quiet' ? '' : NOTICE);
    if (option === '--json') expect(JSON.parse(stdout)).toMatchObject({ branch: 'a' });
    await packed(place);
    place.fsck();
  }
});

test('commit starts pack when commits have left many packs', async () => {
  const place = await storeWith(1_000_000);
  configure(place, { unpackLimit: 1 });
  for (let i = 0; i < 17; i++) {
    await writeDisk(place, 'a.raw', i);
    const { stderr } = await place.run('commit', 'a.raw', '-m', String(i));
    expect(stderr).toBe(i < 16 ? '' : NOTICE);
  }
  await packed(place);
  place.fsck();
  for (let i = 0; i < 17; i++)
    expect((await place.run('cat', `a~${16 - i}`)).bytes.equals(disk(i))).toBe(true);
});

test('commit never starts pack when imgstore.autoPack is 0', async () => {
  const place = await storeWith(0);
  configure(place, { unpackLimit: 1 });
  for (let i = 0; i < 18; i++) {
    await writeDisk(place, 'a.raw', i, sampledSeeds[i % 3]);
    expect((await place.run('commit', 'a.raw')).stderr).toBe('');
  }
  expect(packNames(place)).toHaveLength(18);
});

test('commit does not wait for a pack that another process is at, and nothing is packed twice', async () => {
  const place = await storeWith(1);
  mkdirSync(place.path('.imgstore/imgstore/locks'), { recursive: true });
  writeFileSync(lockOf(place), '');
  for (const [i, seed] of sampledSeeds.entries()) {
    await writeDisk(place, `${i}.raw`, seed);
    expect(await place.run('commit', `${i}.raw`, '-b', `b${i}`)).toMatchObject({ status: 0, stderr: NOTICE });
  }
  // Whoever was started ends at the lock.
  await idle(place);
  expect(packNames(place)).toEqual([]);
  rmSync(lockOf(place));
  await place.ok('pack');
  await packed(place);
  place.fsck();
});

test('commits at once start packs of which one is at work at a time', async () => {
  const place = await storeWith(1);
  const images = Array.from({ length: 6 }, (_, i) => `image${i}`);
  for (const [i, image] of images.entries())
    await writeDisk(
      place,
      `${image}.raw`,
      sampledSeeds[i % 3],
      ...Array.from({ length: 30 }, (_, n) => 1000 * i + n),
    );
  let most = 0;
  let watching = true;
  const watch = (async () => {
    while (watching) {
      const names = readdirSync(place.path('.imgstore/objects/pack'));
      most = Math.max(most, names.filter((name) => name.startsWith('tmp_pack_')).length);
      await sleep(1);
    }
  })();
  const outcomes = await Promise.all(images.map((image) => place.run('commit', `${image}.raw`)));
  for (const outcome of outcomes) expect(outcome.status).toBe(0);
  expect(outcomes.some(({ stderr }) => stderr === NOTICE)).toBe(true);
  await idle(place);
  watching = false;
  await watch;
  expect(most).toBeLessThanOrEqual(1);
  place.fsck();
  for (const image of images) expect((await place.run('compare', image, `${image}.raw`)).status).toBe(0);
  // What came while the others found the lock is packed now: into a pack of its own, where it is little beside what was packed before.
  await place.ok('pack');
  expect(looseFolders(place)).toEqual([]);
  expect(packNames(place).length).toBeLessThanOrEqual(2);
  place.fsck();
});
