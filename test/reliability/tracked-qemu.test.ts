import { afterAll, expect, test } from 'vitest';
import {
  type CommitRequest,
  checkoutVersion,
  commitVersion,
  describeDisk,
  type Store,
} from '../../store/index.ts';
import { Random } from '../qcow2/differential/random.ts';
import { qemuImg, qemuIo } from '../qcow2/qemu.ts';
import { newStore, SMALL, type TestStore } from '../store/new-store.ts';
import { hasLeaksOnly } from './in-place-targets.ts';
import { hasProgram, type QemuProgram, RunningQemu } from './running-qemu.ts';

const SEED = Number(process.env.IMGSTORE_SEED ?? 1);
/** Rounds for each kind of image. */
const ROUNDS = Number(process.env.IMGSTORE_KILL_ROUNDS ?? 6);

const KIB = 1024;
const DISK_BYTES = 8 * 2 ** 20;
/** All data that an image begins with, so that a read of all of it shows. */
const FILLED_BYTES = 4 * 2 ** 20;

const NOT_SAVED =
  /its bitmap is not trusted, so all of it is read: it was not saved when the image was last written$/;

let rounds = 0;
let kills = 0;

afterAll(() => {
  console.log(
    `tracked images: ${rounds} rounds of writes by a running QEMU, ${kills} of them ended by a kill`,
  );
});

/** What a commit has done. */
interface Committed {
  readonly readBytes: number;
  readonly notices: readonly string[];
}

/** An image of which a store keeps track, to which a running QEMU writes. */
class TrackedVm {
  readonly image: string;
  readonly #made: TestStore;

  private constructor(made: TestStore, image: string) {
    this.#made = made;
    this.image = image;
  }

  static async create(...options: readonly string[]): Promise<TrackedVm> {
    const made = await newStore();
    const vm = new TrackedVm(made, made.file('vm.qcow2'));
    const base = made.file('base.qcow2');
    await qemuImg('create', '-q', '-f', 'qcow2', base, `${DISK_BYTES}`);
    await qemuIo(base, `write -P 200 0 ${FILLED_BYTES}`);
    const below = options.includes('-b') ? [] : [`${DISK_BYTES}`];
    await qemuImg('create', '-q', '-f', 'qcow2', ...options, vm.image, ...below);
    await qemuIo(vm.image, `write -P 201 0 ${FILLED_BYTES}`);
    await vm.commit({ track: true });
    return vm;
  }

  get store(): Store {
    return this.#made.store;
  }

  async commit(request: Partial<CommitRequest> = {}): Promise<Committed> {
    const notices: string[] = [];
    const disks = [{ name: 'vda', path: this.image }];
    const onNotice = (notice: string) => notices.push(notice);
    const result = await commitVersion(this.store, { disks, branch: 'vm', ...request }, { onNotice });
    return { readBytes: result.disks[0]!.readBytes, notices };
  }

  /** Fails unless the last version has the bytes that QEMU reads in all of the image, and the image is in order. */
  async expectStored(): Promise<void> {
    await hasLeaksOnly(this.image);
    const output = this.#made.file('stored.raw');
    await checkoutVersion(this.store, { revision: 'vm', output, force: true });
    await qemuImg('compare', '-q', '-f', 'qcow2', '-F', 'raw', this.image, output);
  }

  /** Those of imgstore first. */
  async bitmaps() {
    const { qcow2 } = await describeDisk(this.image);
    const isForeign = ({ name }: { readonly name: string }) => Number(!name.startsWith('imgstore-'));
    return [...(qcow2?.bitmapList ?? [])].sort((one, other) => isForeign(one) - isForeign(other));
  }
}

/** Writes of any kind at any place, and the most that a commit may read after them. */
function someWrites(random: Random, count: number) {
  const commands: string[] = [];
  const dirty = new Set([DISK_BYTES / SMALL - 1]);
  for (let i = 0; i < count; i++) {
    const unit = random.pick([512, SMALL, 64 * KIB]);
    const length = unit * random.between(1, 4);
    const offset = unit * random.below((DISK_BYTES - length) / unit + 1);
    const verb = random.pick([
      `write -P ${random.below(200)}`,
      `write -P ${random.below(200)}`,
      'write -z',
      'write -z -u',
      'discard',
    ]);
    commands.push(`${verb} ${offset} ${length}`);
    for (let at = Math.floor(offset / SMALL); at * SMALL < offset + length; at++) dirty.add(at);
  }
  return { commands, dirtyBytes: dirty.size * SMALL };
}

/** Lets a QEMU write and end, well or not. Returns what is to be expected of the next commit: the most that it reads, or undefined for all. */
async function round(program: QemuProgram, vm: TrackedVm, random: Random): Promise<number | undefined> {
  rounds++;
  const qemu = await RunningQemu.open(program, vm.image);
  const { commands, dirtyBytes } = someWrites(random, random.between(1, 12));
  await qemu.write(commands);
  if (random.once(2)) {
    await qemu.quit();
    return dirtyBytes;
  }
  kills++;
  const more = someWrites(random, 400).commands;
  const done = await qemu.killWhileWriting(more, random.below(100));
  expect(done).toBeLessThan(more.length);
  return undefined;
}

const IMAGES: readonly (readonly [string, QemuProgram, readonly string[]])[] = [
  ['an image', 'qemu-nbd', []],
  ['an image with clusters of 512 bytes', 'qemu-nbd', ['-o', 'cluster_size=512']],
  ['an overlay', 'qemu-storage-daemon', ['-b', 'base.qcow2', '-F', 'qcow2']],
  ['an image with extended L2 entries', 'qemu-system-x86_64', ['-o', 'extended_l2=on']],
];

test.for(IMAGES)(
  '%s that a running %s writes to, and ends or is killed: each commit holds what QEMU reads, and reads no more than it must',
  { timeout: 0 },
  async ([, program, options], context) => {
    if (!hasProgram(program)) context.skip(`${program} is not here`);
    const vm = await TrackedVm.create(...options);
    const random = new Random(SEED);
    for (let i = 0; i < ROUNDS; i++) {
      const expected = await round(program, vm, random);
      const { readBytes, notices } = await vm.commit();
      const at = `round ${i}`;
      if (expected === undefined) {
        expect(notices, at).toEqual([expect.stringMatching(NOT_SAVED)]);
        expect(readBytes, at).toBeGreaterThan(FILLED_BYTES / 4);
      } else {
        expect(notices, at).toEqual([]);
        expect(readBytes, at).toBeLessThanOrEqual(expected);
      }
      await vm.expectStored();
    }
  },
);

/** The first of those with a monitor that is here. */
const MONITORED = (['qemu-storage-daemon', 'qemu-system-x86_64'] as const).find(hasProgram);

test('a bitmap that a running QEMU adds is kept as it is, and not taken for one of the store', async (context) => {
  if (MONITORED === undefined) return context.skip('no QEMU with a monitor is here');
  const vm = await TrackedVm.create();
  const qemu = await RunningQemu.open(MONITORED, vm.image);
  await qemu.addBitmap('backup');
  await qemu.write(['write -P 1 1M 64k']);
  await qemu.quit();
  expect(await vm.commit()).toEqual({ notices: [], readBytes: 64 * KIB });
  await vm.expectStored();
  const [ours, foreign] = await vm.bitmaps();
  expect(ours).toMatchObject({ name: expect.stringMatching(/^imgstore-/), valid: true });
  expect(foreign).toMatchObject({ name: 'backup', granularity: 65536, valid: true });
  // After a kill neither is to be trusted; the one of somebody else is still his.
  const killed = await RunningQemu.open(MONITORED, vm.image);
  await killed.write(['write -P 2 2M 64k']);
  await killed.kill();
  expect((await vm.commit()).notices).toEqual([expect.stringMatching(NOT_SAVED)]);
  await vm.expectStored();
  const [oursAgain, foreignAgain] = await vm.bitmaps();
  expect(oursAgain).toMatchObject({ name: expect.stringMatching(/^imgstore-/), valid: true });
  expect(foreignAgain).toMatchObject({ name: 'backup', valid: false });
});

test('commit reads all of an image to which a running QEMU has added a second bitmap in the name of the store', async (context) => {
  if (MONITORED === undefined) return context.skip('no QEMU with a monitor is here');
  const vm = await TrackedVm.create();
  const [ours] = await vm.bitmaps();
  const qemu = await RunningQemu.open(MONITORED, vm.image);
  await qemu.write(['write -P 1 1M 64k']);
  await qemu.addBitmap(ours!.name.replace(/-[0-9a-f]{32}-/, `-${'0'.repeat(32)}-`));
  await qemu.quit();
  const { notices, readBytes } = await vm.commit();
  expect(notices).toEqual([expect.stringMatching(/not trusted, so all of it is read: there are several$/)]);
  expect(readBytes).toBeGreaterThanOrEqual(FILLED_BYTES);
  await vm.expectStored();
  expect(await vm.bitmaps()).toHaveLength(1);
});

test('commit reads all of an image whose bitmap a running QEMU has cleared', async (context) => {
  if (MONITORED === undefined) return context.skip('no QEMU with a monitor is here');
  const vm = await TrackedVm.create();
  const [ours] = await vm.bitmaps();
  const qemu = await RunningQemu.open(MONITORED, vm.image);
  await qemu.write(['write -P 1 1M 64k']);
  await qemu.clearBitmap(ours!.name);
  await qemu.quit();
  const { notices, readBytes } = await vm.commit();
  expect(notices).toHaveLength(1);
  expect(readBytes).toBeGreaterThanOrEqual(FILLED_BYTES);
  await vm.expectStored();
});

test('commit refuses a tracked image that a running QEMU has open, and with --force-share reads all of it', async () => {
  const vm = await TrackedVm.create();
  const qemu = await RunningQemu.open('qemu-nbd', vm.image);
  await qemu.write(['write -P 1 1M 64k', 'flush']);
  await expect(vm.commit()).rejects.toMatchObject({ code: 'IN_USE' });
  await expect(vm.commit({ track: true })).rejects.toMatchObject({ code: 'IN_USE' });
  const shared = await vm.commit({ forceShare: true });
  expect(shared.readBytes).toBeGreaterThanOrEqual(FILLED_BYTES);
  expect(shared.notices).toEqual([
    expect.stringMatching(/the next commit will read all of it: it is shared with others$/),
    expect.stringMatching(NOT_SAVED),
  ]);
  await qemu.write(['write -P 2 2M 64k']);
  await qemu.quit();
  // Its bitmap is whole, but began before the version that was read meanwhile.
  expect((await vm.commit()).notices).toEqual([expect.stringMatching(/the branch has gone on since$/)]);
  await vm.expectStored();
  await qemuIo(vm.image, 'write -P 3 3M 64k');
  expect(await vm.commit()).toEqual({ notices: [], readBytes: 64 * KIB });
  await vm.expectStored();
});

test('commit of a tracked image with lazy refcounts is right after a kill, and tracks it again once QEMU has repaired it', async () => {
  const vm = await TrackedVm.create('-o', 'lazy_refcounts=on');
  const qemu = await RunningQemu.open('qemu-nbd', vm.image);
  await qemu.write(['write -P 1 5M 64k', 'flush']);
  await qemu.kill();
  const { notices } = await vm.commit();
  expect(notices).toEqual([
    expect.stringMatching(NOT_SAVED),
    expect.stringMatching(/is marked as not closed properly: run qemu-img check -r all on it first$/),
  ]);
  await qemuImg('check', '-q', '-r', 'all', vm.image);
  await qemuIo(vm.image, 'write -P 2 6M 64k');
  expect((await vm.commit()).notices).toEqual([expect.stringMatching(NOT_SAVED)]);
  await vm.expectStored();
  await qemuIo(vm.image, 'write -P 3 3M 64k');
  expect(await vm.commit()).toEqual({ notices: [], readBytes: 64 * KIB });
});
