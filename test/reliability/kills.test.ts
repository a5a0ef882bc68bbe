import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { configure } from '../cmd/packed-store.ts';
import { Random } from '../qcow2/differential/random.ts';
import { diskOf } from '../store/disks.ts';
import { changedVersions } from './known-versions.ts';
import { quickFolder } from './quick-folder.ts';
import { digestOf } from './sample-history.ts';

const ROUNDS = Number(process.env.IMGSTORE_KILL_ROUNDS ?? 25);
const SEED = Number(process.env.IMGSTORE_SEED ?? 1);
const BRANCHES = ['a', 'b', 'c'];
/** Clusters of a disk; a commit of all of them makes a pack. */
const CLUSTERS = 20;

/** What runs beside the commits. */
const UPKEEP: readonly (readonly string[])[] = [
  ['pack'],
  ['pack', '--aggressive'],
  ['gc', '--prune', 'now'],
  ['gc', '--prune', '2w'],
];

/** A store with a short history, in which kills come. */
class KilledStore {
  readonly place: Workplace;
  readonly #random: Random;
  /** Digests of what was stored, by id. */
  readonly committed = new Map<string, string>();
  readonly #disks = new Map(
    BRANCHES.map((branch, i) => [branch, Array.from({ length: CLUSTERS }, (_, k) => i * 50 + k)]),
  );
  #seed = 1000;

  constructor(place: Workplace, random: Random) {
    this.place = place;
    this.#random = random;
  }

  /** Writes the next version of a branch's disk and returns its digest. */
  nextDisk(branch: string): string {
    const plan = this.#disks.get(branch)!;
    const changes = this.#random.once(3) ? CLUSTERS : this.#random.between(1, 3);
    for (let i = 0; i < changes; i++)
      plan[changes === CLUSTERS ? i : this.#random.below(CLUSTERS)] = this.#seed++;
    const bytes = diskOf(plan);
    writeFileSync(this.place.path(`${branch}.raw`), bytes);
    return digestOf(bytes);
  }

  /** Where the branches are. */
  tips(): Map<string, string> {
    const lines = this.place.git('for-each-ref', '--format=%(refname:short) %(objectname)', 'refs/heads');
    return new Map(
      lines
        .split('\n')
        .filter(Boolean)
        .map((line) => line.split(' ') as [string, string]),
    );
  }

  /** Takes note of where a branch has come. @param digest of the disk that was being committed */
  learn(branch: string, digest: string): void {
    const tip = this.tips().get(branch);
    if (tip !== undefined && !this.committed.has(tip)) this.committed.set(tip, digest);
  }
}

async function duration(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

test('nothing that was committed is lost or changed by kills at any moment', async () => {
  const place = new Workplace(await quickFolder());
  await place.ok('init', '--cluster-size', '4K');
  configure(place, { unpackLimit: 16, autoPack: 0 });
  const random = new Random(SEED);
  const store = new KilledStore(place, random);
  for (const branch of BRANCHES) {
    const digest = store.nextDisk(branch);
    await place.ok('commit', `${branch}.raw`, '-m', 'first');
    store.learn(branch, digest);
  }
  // What a verb takes, in milliseconds; the machine may become slower.
  const longest = await duration(() => place.ok('pack'));
  let killed = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const branch = random.pick(BRANCHES);
    const digest = store.nextDisk(branch);
    const commit = place.start(['commit', `${branch}.raw`, '-m', `round ${round}`, '--json']);
    const upkeep = place.start(random.pick(UPKEEP));
    const kills = [commit, upkeep].map(async ({ child, finished }) => {
      await sleep(random.below(1.5 * longest));
      child.kill('SIGKILL');
      return finished;
    });
    const [end, other] = await Promise.all(kills);
    const name = `seed ${SEED}, round ${round}`;
    for (const { status, signal, stderr } of [end!, other!])
      expect([0, 4, null], `${name}: ${signal} ${stderr}`).toContain(status);
    killed += [end!, other!].filter(({ signal }) => signal === 'SIGKILL').length;
    if (end!.status === 0)
      expect(JSON.parse(end!.stdout), name).toMatchObject({ commit: store.tips().get(branch) });
    store.learn(branch, digest);
    place.fsck();
    expect(await changedVersions(place.folder, store.committed), name).toEqual([]);
  }
  console.log(`kills: ${killed} in ${ROUNDS} rounds, ${store.committed.size} versions, seed ${SEED}`);
  expect(killed).toBeGreaterThan(0);
  await place.ok('pack');
  await place.ok('fsck');
  expect(await changedVersions(place.folder, store.committed)).toEqual([]);
}, 0);
