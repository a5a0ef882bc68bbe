import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { afterAll, expect, test } from 'vitest';
import { type Outcome, Workplace } from '../cmd/imgstore.ts';
import { qemuBytes } from '../qcow2/qemu.ts';
import { hasLeaksOnly, snapshotBytes, TARGETS, type TargetKind, WANTED } from './in-place-targets.ts';
import { INJECTED_CALLS, needsStrace, throughStrace } from './strace.ts';

/** Of a command's calls one in so many for each fate, as each takes a process; in the long form every one. */
const STEP = process.env.IMGSTORE_LONG === '1' ? 1 : 13;

/** What can become of a call by which a file is changed. */
const FATES = ['signal=SIGKILL', 'error=EIO', 'error=ENOSPC'];

let struck = 0;

afterAll(() => {
  console.log(`in-place sweep: ${struck} kills and failing calls over ${TARGETS.length} kinds of targets`);
});

/** A store with the version, and a target beside it that can be made anew. */
class Place {
  readonly #place: Workplace;
  readonly #kind: TargetKind;

  private constructor(place: Workplace, kind: TargetKind) {
    this.#place = place;
    this.#kind = kind;
  }

  static async create(kind: TargetKind): Promise<Place> {
    const place = await Workplace.withStore('--cluster-size', '4096');
    await kind.make(place.folder);
    await copyFile(place.path(kind.file), place.path('kept'));
    await writeFile(place.path('wanted.raw'), WANTED);
    await place.ok('commit', 'wanted.raw', '-b', 'web');
    return new Place(place, kind);
  }

  get path(): string {
    return this.#place.path(this.#kind.file);
  }

  /** Makes the target what it was, and writes the version into it while the n-th call of a kind fails. */
  async strike(call: string, n: number, fate: string): Promise<Outcome> {
    await copyFile(this.#place.path('kept'), this.path);
    const through = throughStrace(call, n, fate, this.path);
    // With one thread for what is not synchronous, the calls of each kind are counted as one row.
    return this.#place.start(this.#args, { through, env: { UV_THREADPOOL_SIZE: '1' } }).finished;
  }

  /** Runs the command to its end, and says whether all is as it should be. */
  async complete(kept: Buffer | undefined): Promise<void> {
    const { snapshot } = this.#kind;
    if (snapshot !== undefined) await hasLeaksOnly(this.path);
    await this.#place.ok(...this.#args);
    if (snapshot === undefined) {
      expect((await readFile(this.path)).equals(WANTED)).toBe(true);
      return;
    }
    await hasLeaksOnly(this.path);
    expect((await qemuBytes(this.path)).equals(WANTED), 'the disk').toBe(true);
    expect((await snapshotBytes(this.path, snapshot)).equals(kept!), 'the snapshot').toBe(true);
  }

  get #args(): string[] {
    return ['checkout', 'web', '-o', this.#kind.file, '--in-place'];
  }
}

test.for(TARGETS)(
  'checkout --in-place into $name is completed by a second run, wherever the first is killed or a call fails',
  { timeout: 0 },
  async (kind, context) => {
    needsStrace(context);
    const place = await Place.create(kind);
    const kept = kind.snapshot === undefined ? undefined : await snapshotBytes(place.path, kind.snapshot);
    for (const call of INJECTED_CALLS) {
      for (const [i, fate] of FATES.entries()) {
        // Each kind of target and each fate begins at another call.
        const shift = call === 'pwrite64' ? (TARGETS.indexOf(kind) + 4 * i) % STEP : 0;
        // Where no hole can be made, zeros are written.
        const isBorne = call === 'fallocate' && fate.startsWith('error');
        for (let n = 1 + shift; ; n += STEP) {
          const outcome = await place.strike(call, n, fate);
          if (outcome.status === 0 && !isBorne) break;
          if (isBorne && n > 1 + shift) break;
          struck++;
          if (fate.startsWith('error') && !isBorne) {
            expect(outcome).toMatchObject({ status: 1, stdout: '' });
            expect(outcome.stderr).toMatch(/^imgstore: [^\n]+: (input\/output error|no space left)[^\n]+\n$/);
          }
          await place.complete(kept);
        }
      }
    }
  },
);
