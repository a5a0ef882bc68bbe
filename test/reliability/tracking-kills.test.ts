import { readFile } from 'node:fs/promises';
import { afterAll, expect, test } from 'vitest';
import { describeDisk } from '../../store/index.ts';
import { type Outcome, Workplace } from '../cmd/imgstore.ts';
import { qemuBytes, qemuImg, qemuIo } from '../qcow2/qemu.ts';
import { hasLeaksOnly } from './in-place-targets.ts';
import { type Ending, runHere, succeedHere } from './run-here.ts';
import { INJECTED_CALLS, needsStrace, throughStrace } from './strace.ts';

const LONG = process.env.IMGSTORE_LONG === '1';

const MIB = 2 ** 20;
const DISK_BYTES = 4 * MIB;
const CLUSTER = 4096;

/** Of the calls on the image one in so many for each fate, as each takes several processes. */
const FATES = [
  { fate: 'signal=SIGKILL', step: LONG ? 1 : 2 },
  { fate: 'error=EIO', step: LONG ? 1 : 6 },
  { fate: 'error=ENOSPC', step: LONG ? 1 : 9 },
];

/** The calls by which a store is changed; the processes of a commit make hundreds. */
const STORE_CALLS = ['fsync', '/^rename', 'write,pwrite64'];
const STORE_STEP = LONG ? 3 : 47;

const KINDS: readonly (readonly [string, readonly string[]])[] = [
  ['an image', []],
  ['an overlay with clusters of 512 bytes', ['-o', 'cluster_size=512', '-b', 'base.raw', '-F', 'raw']],
  ...(LONG
    ? ([
        ['an image with clusters of 512 bytes', ['-o', 'cluster_size=512']],
        ['an image with refcounts of a bit', ['-o', 'refcount_bits=1,cluster_size=4096']],
        ['an image with extended L2 entries', ['-o', 'extended_l2=on']],
      ] as const)
    : []),
];

let struck = 0;

afterAll(() => {
  console.log(
    `tracking sweep: ${struck} kills and failing calls while bitmaps begin in ${KINDS.length} kinds of images`,
  );
});

/** An image of which a store keeps track, with a bitmap of somebody else in it, written to before each commit. */
class TrackedPlace {
  readonly #place: Workplace;
  #writes = 0;

  private constructor(place: Workplace) {
    this.#place = place;
  }

  static async create(options: readonly string[]): Promise<TrackedPlace> {
    const tracked = new TrackedPlace(await Workplace.withStore('--cluster-size', `${CLUSTER}`));
    const { image } = tracked;
    await qemuImg('create', '-q', '-f', 'raw', tracked.#place.path('base.raw'), `${DISK_BYTES}`);
    await qemuImg(
      'create',
      '-q',
      '-f',
      'qcow2',
      ...options,
      image,
      ...(options.includes('-b') ? [] : ['4M']),
    );
    await qemuImg('bitmap', '--add', image, 'backup');
    await qemuIo(image, `write -P 250 0 ${MIB}`);
    await tracked.commit('--track');
    return tracked;
  }

  get image(): string {
    return this.#place.path('vm.qcow2');
  }

  /** A guest writes a few bytes that were not there before, at places that differ from time to time. */
  async write(): Promise<void> {
    const n = this.#writes++;
    const at = (k: number) => ((n * k) % (DISK_BYTES / CLUSTER)) * CLUSTER;
    await qemuIo(this.image, `write -P ${n % 240} ${at(7)} 4k`, `write -P ${(n * 3) % 240} ${at(61)} 512`);
  }

  /** Commits it while the n-th of these calls meets its fate: on the image, or on any file. */
  strike(calls: string, n: number, fate: string, isOnImage: boolean): Promise<Outcome> {
    const through = throughStrace(calls, n, fate, isOnImage ? this.image : undefined);
    const env = { UV_THREADPOOL_SIZE: '1' };
    return this.#place.start(['commit', 'vm.qcow2', '--track'], { through, env }).finished;
  }

  async commit(...options: readonly string[]): Promise<Ending> {
    const ending = await runHere(this.#place.folder, 'commit', 'vm.qcow2', ...options);
    expect(ending).toMatchObject({ status: 0 });
    return ending;
  }

  /** Fails unless all is as it must be after a fault, and the next commits hold what a full read of the image has. */
  async expectRight(at: string): Promise<void> {
    await hasLeaksOnly(this.image);
    this.#place.fsck();
    await this.write();
    const { stderr } = await this.commit();
    expect(stderr, at).toMatch(
      /^(?:vm\.qcow2: its bitmap is not trusted, so all of it is read: it began at version [0-9a-f]{12}, and the branch has gone on since\n)?$/,
    );
    await this.#expectStored(at);
    // It is kept track of again.
    await this.write();
    expect(await this.commit(), at).toMatchObject({ stderr: '' });
    await this.#expectStored(at);
    expect((await describeDisk(this.image)).qcow2?.bitmapList, at).toMatchObject([
      { name: 'backup', valid: true },
      { name: expect.stringMatching(/^imgstore-/), valid: true },
    ]);
  }

  async #expectStored(at: string): Promise<void> {
    await hasLeaksOnly(this.image);
    this.#place.fsck();
    const output = this.#place.path('stored.raw');
    await succeedHere(this.#place.folder, 'checkout', 'vm', '-o', output, '--force');
    const seen = await qemuBytes(this.image);
    expect((await readFile(output)).equals(seen), at).toBe(true);
  }
}

test.for(KINDS)(
  'commit --track of %s leaves a whole image and a whole store wherever a call on the image is killed or fails, and the next commits are right',
  { timeout: 0 },
  async (kind, context) => {
    needsStrace(context);
    const place = await TrackedPlace.create(kind[1]);
    for (const calls of INJECTED_CALLS) {
      for (const { fate, step } of FATES) {
        // Each kind of image begins at another call.
        for (let n = 1 + (KINDS.indexOf(kind) % step); ; n += step) {
          await place.write();
          const { status, stderr } = await place.strike(calls, n, fate, true);
          const hasFailed = status === 0 && /the next commit will read all of it/.test(stderr);
          if (status === 0 && !hasFailed) break;
          if (fate.startsWith('error'))
            expect(stderr).toMatch(/^vm\.qcow2: the next commit will read all of it: [^\n]+\n$/);
          struck++;
          await place.expectRight(`${fate} at ${calls} ${n}`);
        }
      }
    }
  },
);

test('commit --track leaves a whole image and a whole store wherever it is killed', {
  timeout: 0,
}, async (context) => {
  needsStrace(context);
  const place = await TrackedPlace.create([]);
  for (const [i, calls] of STORE_CALLS.entries()) {
    for (let n = 1 + i; ; n += STORE_STEP) {
      await place.write();
      const { status } = await place.strike(calls, n, 'signal=SIGKILL', false);
      if (status === 0) break;
      struck++;
      await place.expectRight(`kill at ${calls} ${n}`);
    }
  }
});
