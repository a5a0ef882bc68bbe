import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BRANCHES,
  type CheckoutRequest,
  checkoutLazily,
  checkoutVersion,
  commitVersion,
  deleteRef,
  describeDisk,
  hydrateOverlay,
} from '../../../store/index.ts';
import { createOverlay, qemuBytes, qemuCheck, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { diskOf, diskPlans, planned } from '../disks.ts';
import { git } from '../git.ts';
import { killedAt } from '../killed-update.ts';
import { commitBytes, newStore, SMALL, settle, type TestStore } from '../new-store.ts';
import { qemuHolds } from '../qemu-holds.ts';
import { readBack } from '../read-back.ts';
import { qemuServes } from '../serve/qemu-serves.ts';

const DISK = diskOf([1, 2, 3, 0, 5, 6, 7, 0]);
const WRITES = ['write -P 9 5k 6k', 'write -z 20k 4k'];

interface Place extends TestStore {
  readonly overlay: string;
  /** What a guest saw, by QEMU, before the overlay lost its server. */
  readonly shown: Buffer;
}

/** A store with a version, and an overlay on an export of it, written to, whose server has ended. */
async function place(bytes = DISK, writes: readonly string[] = WRITES): Promise<Place> {
  const made = await newStore();
  await commitBytes(made, 'web', bytes);
  const overlay = made.file('work.qcow2');
  await checkoutLazily(made.store, { revision: 'web', output: overlay });
  const socket = `${made.path}/imgstore/nbd.sock`;
  const { stop } = await qemuServes(made.file('web.raw'), await git(made.path, 'rev-parse', 'web'), socket);
  if (writes.length > 0) await qemuIo(overlay, ...writes);
  const shown = await qemuBytes(overlay);
  await stop();
  return { ...made, overlay, shown };
}

function hydrate({ store, overlay }: Place, request = {}) {
  return hydrateOverlay(store, { overlay, ...request });
}

/** What an overlay of an export shows, with the tie as it is: by a server when it needs one. */
async function shownOf({ overlay, path, file }: Place): Promise<Buffer> {
  if ((await describeDisk(overlay)).qcow2!.backingFile === undefined) return qemuBytes(overlay);
  const raw = file('base-for-a-look.qcow2');
  copyFileSync(overlay, raw);
  await qemuImg('rebase', '-u', '-f', 'qcow2', '-b', 'web.raw', '-F', 'raw', raw);
  expect(path).toBeTruthy();
  return qemuBytes(raw);
}

test('hydrateOverlay copies what an overlay lacks, which then stands on nothing and shows the same', async () => {
  const made = await place();
  const progress: number[] = [];
  const monitor = {
    onProgress: ({ done, total }: { done: number; total: number }) => progress.push(done / total),
  };
  const result = await hydrateOverlay(made.store, { overlay: made.overlay }, monitor);
  // Of the clusters 0, 1, 2, 4, 5 and 6 it held 0, as every overlay does, 1 and 2, which were written to, and 5, which was zeroed.
  expect(result).toMatchObject({ file: made.overlay, writtenBytes: 2 * SMALL });
  expect(progress.at(-1)).toBe(1);
  expect((await qemuBytes(made.overlay)).equals(made.shown)).toBe(true);
  await qemuCheck(made.overlay);
  const { qcow2, origin } = await describeDisk(made.overlay);
  expect(qcow2).toMatchObject({ backingFile: undefined, backingFormat: undefined });
  expect(origin).toMatchObject({ commit: await git(made.path, 'rev-parse', 'web'), base: undefined });
  await expect(hydrate(made)).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('stands on no backing file'),
  });
  await qemuIo(made.overlay, 'write -P 4 20k 3k');
  await qemuCheck(made.overlay);
});

test('hydrateOverlay leaves it known what an overlay holds that was committed', async () => {
  const made = await place();
  const disks = [{ name: 'vda', path: made.overlay }];
  await settle();
  const { commit } = await commitVersion(made.store, { disks, branch: 'vm' });
  await hydrate(made);
  const again = await commitVersion(made.store, { disks, branch: 'vm' });
  expect(again).toMatchObject({ commit, unchanged: true, disks: [{ readBytes: 0 }] });
});

test('hydrateOverlay keeps what the guest sees for any version and writes', async () => {
  const write = fc.tuple(
    fc.constantFrom('write -P 8', 'write -z', 'discard'),
    fc.nat(18),
    fc.integer({ min: 1, max: 8 }),
  );
  await fc.assert(
    fc.asyncProperty(diskPlans(12, 0, 512, 1000), fc.array(write, { maxLength: 4 }), async (plan, list) => {
      const bytes = planned(plan);
      const size = Math.floor(bytes.length / 512) * 512;
      const writes = list
        .map(([verb, at, length]) => [verb, 2048 * at, Math.min(2048 * length, size - 2048 * at)] as const)
        .filter(([, , length]) => length > 0)
        .map(([verb, at, length]) => `${verb} ${at} ${length}`);
      const made = await place(bytes, writes);
      await hydrate(made);
      expect((await qemuBytes(made.overlay)).equals(made.shown)).toBe(true);
      await qemuCheck(made.overlay);
    }),
    { numRuns: 6 },
  );
});

test.each([
  ['longer', ['+10k']],
  ['shorter', ['--shrink', '17k']],
])('hydrateOverlay keeps what the guest sees of an overlay that was made %s', async (_, words) => {
  const made = await place();
  await qemuServes(
    made.file('web.raw'),
    await git(made.path, 'rev-parse', 'web'),
    `${made.path}/imgstore/nbd.sock`,
  );
  const size = words.at(-1)!;
  await qemuImg('resize', '-q', ...words.slice(0, -1), made.overlay, size);
  const shown = await qemuBytes(made.overlay);
  await hydrate(made);
  expect((await qemuBytes(made.overlay)).equals(shown)).toBe(true);
  await qemuCheck(made.overlay);
});

test('hydrateOverlay leaves what the guest sees wherever it is killed, and can be run again', async () => {
  const made = await place();
  copyFileSync(made.overlay, made.file('kept.qcow2'));
  let finished = false;
  let kills = 0;
  for (let step = 1; !finished; step++) {
    copyFileSync(made.file('kept.qcow2'), made.overlay);
    finished = await killedAt(step, () => hydrate(made));
    kills += finished ? 0 : 1;
    expect((await shownOf(made)).equals(made.shown), `killed at ${step}`).toBe(true);
    const disks = [{ name: 'vda', path: made.overlay }];
    await commitVersion(made.store, { disks, branch: 'vm' });
    expect((await readBack(made.store, 'vm')).equals(made.shown), `committed after ${step}`).toBe(true);
    if ((await describeDisk(made.overlay)).qcow2!.backingFile !== undefined) await hydrate(made);
    expect((await qemuBytes(made.overlay)).equals(made.shown), `again after ${step}`).toBe(true);
    const check = JSON.parse(
      await qemuImg('check', '--output=json', made.overlay).catch((error) => error.stdout),
    );
    expect(check, `killed at ${step}`).not.toHaveProperty('corruptions');
  }
  expect(kills).toBeGreaterThan(5);
});

test('hydrateOverlay can be stopped, says so, and goes on where it was', async () => {
  const made = await place(diskOf(Array.from({ length: 4000 }, (_, i) => (i % 7) + 1)), ['write -P 9 5k 6k']);
  const stop = new AbortController();
  const monitor = { signal: stop.signal, onProgress: () => stop.abort() };
  await expect(hydrateOverlay(made.store, { overlay: made.overlay }, monitor)).rejects.toMatchObject({
    code: 'INTERRUPTED',
  });
  expect((await shownOf(made)).equals(made.shown)).toBe(true);
  await hydrate(made);
  expect((await qemuBytes(made.overlay)).equals(made.shown)).toBe(true);
});

describe('other overlays', () => {
  async function onFile(backing: 'chain' | 'file', request: Partial<CheckoutRequest> = {}): Promise<Place> {
    const made = await newStore();
    await commitBytes(made, 'web', diskOf([1, 2, 3, 4, 0, 6]));
    await commitBytes(made, 'web', DISK);
    await checkoutVersion(made.store, { revision: 'web', output: made.file('base.qcow2') });
    const overlay = made.file('top.qcow2');
    const on = backing === 'chain' ? backing : { file: made.file('base.qcow2') };
    await checkoutVersion(made.store, { revision: 'web', output: overlay, backing: on, ...request });
    await qemuIo(overlay, ...WRITES);
    return { ...made, overlay, shown: await qemuBytes(overlay) };
  }

  test.each([
    ['a chain', 'chain'],
    ['a file', 'file'],
  ] as const)('hydrateOverlay flattens an overlay on %s', async (_, backing) => {
    const made = await onFile(backing);
    await hydrate(made);
    expect((await qemuBytes(made.overlay)).equals(made.shown)).toBe(true);
    await qemuCheck(made.overlay);
    expect((await describeDisk(made.overlay)).qcow2?.backingFile).toBe(undefined);
  });

  test.each([
    ['of version 2', ['-o', `compat=0.10,cluster_size=${SMALL}`], false],
    ['with compressed clusters', ['-o', `cluster_size=${SMALL}`], true],
    ['with refcounts of 1 bit', ['-o', `cluster_size=${SMALL},refcount_bits=1`], false],
  ])('hydrateOverlay flattens an overlay %s that qemu-img made', async (_, options, isCompressed) => {
    const made = await onFile('file');
    const overlay = made.file('made.qcow2');
    const on = ['-b', 'base.qcow2', '-F', 'qcow2'];
    await qemuImg('create', '-q', '-f', 'qcow2', ...options, ...on, overlay);
    await qemuIo(overlay, 'write -P 3 9k 1k', `write ${isCompressed ? '-c ' : ''}-P 5 24k 4k`);
    const shown = await qemuBytes(overlay);
    await hydrate({ ...made, overlay });
    expect((await qemuBytes(overlay)).equals(shown)).toBe(true);
    await qemuCheck(overlay);
    expect((await describeDisk(overlay)).origin).toBe(undefined);
  });

  test('hydrateOverlay flattens one whose file is gone', async () => {
    const made = await onFile('file');
    rmSync(made.file('base.qcow2'));
    await hydrate(made);
    expect((await qemuBytes(made.overlay)).equals(made.shown)).toBe(true);
  });

  test('hydrateOverlay refuses one whose file was written to, and leaves it', async () => {
    const made = await onFile('file');
    await qemuIo(made.file('base.qcow2'), 'write -P 3 0 1k');
    const before = readFileSync(made.overlay);
    await expect(hydrate(made)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    expect(readFileSync(made.overlay).equals(before)).toBe(true);
  });

  test('hydrateOverlay keeps what an overlay between shows, when what that stands on is gone', async () => {
    const made = await onFile('file');
    const disks = [{ name: 'vda', path: made.overlay }];
    const top = made.file('above.qcow2');
    await createOverlay(top, 'top.qcow2', 'qcow2', { clusterSize: SMALL });
    await qemuIo(top, 'write -P 4 1k 1k');
    const shown = await qemuBytes(top);
    rmSync(made.file('base.qcow2'));
    // The one between holds no version that the store knows.
    await expect(hydrate({ ...made, overlay: top })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await settle();
    await commitVersion(made.store, { disks, branch: 'vm' });
    await hydrate({ ...made, overlay: top });
    expect((await qemuBytes(top)).equals(shown)).toBe(true);
  });
});

test.each<[string, (place: Place) => Promise<unknown>, string]>([
  ['internal snapshots', async ({ overlay }) => qemuImg('snapshot', '-c', 's', overlay), 'UNSUPPORTED'],
  ['no right to be written to', async ({ overlay }) => chmod(overlay, 0o444), 'FORBIDDEN'],
  ['no file', async ({ overlay }) => rmSync(overlay), 'NOT_FOUND'],
  ['a version that is gone', async ({ store }) => deleteRef(store, BRANCHES, 'web'), 'NOT_FOUND'],
  [
    "a claim that is not the store's",
    async ({ overlay }) => {
      const bytes = readFileSync(overlay);
      bytes[bytes.indexOf('IMGS') + 8 + 100]! ^= 1;
      writeFileSync(overlay, bytes);
    },
    'FORBIDDEN',
  ],
  [
    'clusters of another size',
    async ({ overlay, file }) => {
      rmSync(overlay);
      await createOverlay(overlay, 'web.raw', 'raw');
      await qemuImg('rebase', '-u', '-b', file('web.raw'), '-F', 'raw', overlay);
    },
    'UNSUPPORTED',
  ],
])('hydrateOverlay throws for an overlay with %s', async (_, change, code) => {
  const made = await place();
  await qemuServes(
    made.file('web.raw'),
    await git(made.path, 'rev-parse', 'web'),
    `${made.path}/imgstore/nbd.sock`,
  );
  await change(made);
  await expect(hydrate(made)).rejects.toMatchObject({ code });
});

test('hydrateOverlay throws IN_USE while a QEMU has the overlay open', async () => {
  const made = await place();
  await qemuServes(
    made.file('web.raw'),
    await git(made.path, 'rev-parse', 'web'),
    `${made.path}/imgstore/nbd.sock`,
  );
  await qemuHolds(made.overlay);
  const before = readFileSync(made.overlay);
  await expect(hydrate(made)).rejects.toMatchObject({ code: 'IN_USE' });
  expect(readFileSync(made.overlay).equals(before)).toBe(true);
});

test('hydrateOverlay takes the user at their word for an overlay whose header names no version', async () => {
  const made = await place();
  const overlay = made.file('plain.qcow2');
  await qemuImg(
    'create',
    '-q',
    '-u',
    '-f',
    'qcow2',
    '-o',
    `cluster_size=${SMALL}`,
    '-b',
    'nbd+unix:///x?socket=/nowhere',
    '-F',
    'raw',
    overlay,
    `${DISK.length}`,
  );
  await expect(hydrate({ ...made, overlay })).rejects.toThrow('pass --stored-base');
  await hydrate({ ...made, overlay }, { storedBase: 'web' });
  expect((await qemuBytes(overlay)).equals(DISK)).toBe(true);
});
