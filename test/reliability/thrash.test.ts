import { rmSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type Outcome, Workplace } from '../cmd/imgstore.ts';
import { configure } from '../cmd/packed-store.ts';
import { listStore, unfinished } from '../cmd/store-files.ts';
import { Random } from '../qcow2/differential/random.ts';
import { diskOf } from '../store/disks.ts';
import { changedVersions } from './known-versions.ts';
import { quickFolder } from './quick-folder.ts';
import { digestOf, fileDigest } from './sample-history.ts';

const SECONDS = Number(process.env.IMGSTORE_THRASH_SECONDS ?? 15);
const SEED = Number(process.env.IMGSTORE_SEED ?? 1);
const PROCESSES = 8;
const CLUSTERS = 24;

/** One of the processes that work on the store at once. */
class Worker {
  readonly #place: Workplace;
  readonly #random: Random;
  readonly #number: number;
  /** Digests of versions by id: of all workers. */
  readonly #known: Map<string, string>;
  readonly ends = new Map<string, number>();
  readonly complaints: string[] = [];

  constructor(place: Workplace, number: number, known: Map<string, string>) {
    this.#place = place;
    this.#random = new Random(SEED * PROCESSES + number);
    this.#number = number;
    this.#known = known;
  }

  async workUntil(end: number): Promise<void> {
    const verbs = [
      () => this.#commit(),
      () => this.#commit(),
      () => this.#checkout(),
      () => this.#cat(),
      ...[
        ['pack'],
        ['pack', '--aggressive'],
        ['gc', '--prune', 'now'],
        ['fsck'],
        ['log', '--all'],
        ['images'],
        ['stats'],
      ].map((args) => () => this.#run(...args)),
      () => this.#run('diff', this.#revision(), this.#revision()),
    ];
    while (performance.now() < end) await this.#random.pick(verbs)();
  }

  /** Disks of all workers have clusters in common. */
  async #commit(): Promise<void> {
    const file = `${this.#number}.raw`;
    const changes = this.#random.once(2) ? CLUSTERS : 2;
    const plan = Array.from({ length: CLUSTERS }, (_, i) => (i < changes ? this.#random.between(1, 200) : i));
    const bytes = diskOf(plan);
    writeFileSync(this.#place.path(file), bytes);
    const branch = this.#random.once(3) ? 'shared' : `own-${this.#number}`;
    const { status, stdout } = await this.#run('commit', file, '-b', branch, '--json');
    if (status === 0) this.#known.set((JSON.parse(stdout) as { commit: string }).commit, digestOf(bytes));
  }

  async #checkout(): Promise<void> {
    const revision = this.#revision();
    const file = `out-${this.#number}.raw`;
    const { status } = await this.#run('checkout', revision, '-o', file);
    if (status !== 0) return;
    if (fileDigest(this.#place.path(file)) !== this.#known.get(revision))
      this.complaints.push(`checkout ${revision}: other bytes`);
    rmSync(this.#place.path(file));
  }

  async #cat(): Promise<void> {
    const revision = this.#revision();
    const { status, bytes } = await this.#run('cat', revision);
    if (status === 0 && digestOf(bytes) !== this.#known.get(revision))
      this.complaints.push(`cat ${revision}: other bytes`);
  }

  #revision(): string {
    return this.#random.pick([...this.#known.keys()]);
  }

  async #run(...args: readonly string[]): Promise<Outcome> {
    const outcome = await this.#place.run(...args);
    const key = `${args[0]} ${outcome.status}`;
    this.ends.set(key, (this.ends.get(key) ?? 0) + 1);
    if (outcome.status !== 0 && outcome.status !== 4)
      this.complaints.push(`${args.join(' ')}: ${outcome.status ?? outcome.signal}: ${outcome.stderr}`);
    return outcome;
  }
}

test('many processes at once on one store do no damage, and fail only because another one is busy', async () => {
  const place = new Workplace(await quickFolder());
  await place.ok('init', '--cluster-size', '4K');
  // A pack that a commit has started may still be at work when the store is looked over at the end.
  configure(place, { unpackLimit: 16, autoPack: 0 });
  const first = diskOf(Array.from({ length: CLUSTERS }, (_, i) => i));
  writeFileSync(place.path('shared.raw'), first);
  const known = new Map([[(await place.json('commit', 'shared.raw')).commit as string, digestOf(first)]]);
  const workers = Array.from({ length: PROCESSES }, (_, i) => new Worker(place, i, known));
  const end = performance.now() + SECONDS * 1000;
  await Promise.all(workers.map((worker) => worker.workUntil(end)));
  const ends = new Map<string, number>();
  for (const each of workers)
    for (const [key, count] of each.ends) ends.set(key, (ends.get(key) ?? 0) + count);
  console.log(
    `thrash: seed ${SEED}, ${[...ends]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, count]) => `${key}: ${count}`)
      .join(', ')}`,
  );
  expect(workers.flatMap(({ complaints }) => complaints)).toEqual([]);
  place.fsck();
  await place.ok('fsck');
  expect(await changedVersions(place.folder, known)).toEqual([]);
  expect(unfinished(await listStore(place.path('.imgstore')))).toEqual([]);
}, 0);
