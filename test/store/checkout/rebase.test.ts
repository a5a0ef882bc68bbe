import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { chmod } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  checkoutVersion,
  commitVersion,
  describeDisk,
  type RebaseRequest,
  rebaseOverlay,
} from '../../../store/index.ts';
import { createOverlay, qemuBytes, qemuCheck, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { diskOf, diskPlans, planned } from '../disks.ts';
import { git } from '../git.ts';
import { killedAt } from '../killed-update.ts';
import { commitBytes, newStore, SMALL, settle, type TestStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';

const OLD = diskOf([1, 2, 3, 0, 5, 6, 7, 0]);
const NEW = diskOf([1, 12, 0, 4, 5, 16, 7, 0]);

interface Place extends TestStore {
  readonly overlay: string;
  readonly rebase: (request?: Partial<RebaseRequest>) => ReturnType<typeof rebaseOverlay>;
}

/** A store with two versions of a base, and an overlay on the first, checked out and written to. */
async function place(
  [old, next]: readonly [Buffer, Buffer] = [OLD, NEW],
  writes: readonly string[] = ['write -P 9 5k 6k'],
): Promise<Place> {
  const made = await newStore();
  await commitBytes(made, 'golden', old);
  await commitBytes(made, 'golden', next, { allowEmpty: true });
  await checkoutVersion(made.store, { revision: 'golden~1', output: made.file('base.qcow2') });
  const overlay = made.file('vm.qcow2');
  const backing = { file: made.file('base.qcow2') };
  await checkoutVersion(made.store, { revision: 'golden~1', output: overlay, backing });
  if (writes.length > 0) await qemuIo(overlay, ...writes);
  const rebase = (request: Partial<RebaseRequest> = {}) =>
    rebaseOverlay(made.store, { overlay, onto: 'golden', ...request });
  return { ...made, overlay, rebase };
}

async function baseName(made: TestStore, revision: string): Promise<string> {
  return `base-${(await git(made.path, 'rev-parse', revision)).slice(0, 12)}-vda.qcow2`;
}

test('rebaseOverlay puts an overlay onto another version and leaves what the guest sees', async () => {
  const made = await place();
  const before = await qemuBytes(made.overlay);
  const result = await made.rebase();
  const base = await baseName(made, 'golden');
  // Of the clusters that differ, 1, 2, 3 and 5, the overlay has 1 and 2 itself; 3 is zeros.
  expect(result).toMatchObject({ backing: base, writtenBytes: SMALL });
  expect((await qemuBytes(made.overlay)).equals(before)).toBe(true);
  expect((await qemuBytes(made.file(base))).equals(NEW)).toBe(true);
  await qemuCheck(made.overlay);
  rmSync(made.file('base.qcow2'));
  await qemuIo(made.overlay, 'write -P 4 20k 3k');
  await qemuCheck(made.overlay);
  // The header says what it stands on now, and is believed again.
  const expected = await qemuBytes(made.overlay);
  rmSync(made.file(base));
  await commitVersion(made.store, { disks: [{ name: 'vda', path: made.overlay }], branch: 'vm' });
  expect((await readBack(made.store, 'vm')).equals(expected)).toBe(true);
  expect(await git(made.path, 'rev-parse', 'vm~1')).toBe(await git(made.path, 'rev-parse', 'golden'));
});

test('rebaseOverlay says to gc that it reads both versions', async () => {
  const made = await place();
  const announce = vi.spyOn(made.store, 'announceReading');
  const { onto } = await made.rebase();
  const before = await git(made.path, 'rev-parse', 'golden~1');
  expect(announce.mock.calls.map(([versions]) => versions)).toEqual([[onto], [before]]);
});

test('rebaseOverlay keeps what the guest sees for any versions and writes', async () => {
  const write = fc.tuple(
    fc.constantFrom('write -P 8', 'write -z', 'discard'),
    fc.nat(18),
    fc.integer({ min: 1, max: 8 }),
  );
  await fc.assert(
    fc.asyncProperty(
      diskPlans(12, 0, 512, 1000),
      diskPlans(12, 0, 512, 1000),
      fc.array(write, { maxLength: 4 }),
      async (a, b, list) => {
        const old = planned(a);
        const size = Math.floor(old.length / 512) * 512;
        const writes = list
          .map(([verb, at, length]) => [verb, 2048 * at, Math.min(2048 * length, size - 2048 * at)] as const)
          .filter(([, , length]) => length > 0)
          .map(([verb, at, length]) => `${verb} ${at} ${length}`);
        const made = await place([old, planned(b)], writes);
        const before = await qemuBytes(made.overlay);
        await made.rebase();
        expect((await qemuBytes(made.overlay)).equals(before)).toBe(true);
        await qemuCheck(made.overlay);
        await made.rebase({ onto: 'golden~1' });
        expect((await qemuBytes(made.overlay)).equals(before)).toBe(true);
        await qemuCheck(made.overlay);
      },
    ),
    { numRuns: 6 },
  );
});

test('rebaseOverlay leaves what the guest sees wherever it is killed, and can be run again', async () => {
  const made = await place();
  const base = await baseName(made, 'golden');
  const before = await qemuBytes(made.overlay);
  copyFileSync(made.overlay, made.file('kept.qcow2'));
  let finished = false;
  let kills = 0;
  for (let step = 1; !finished; step++) {
    copyFileSync(made.file('kept.qcow2'), made.overlay);
    rmSync(made.file(base), { force: true });
    finished = await killedAt(step, () => made.rebase());
    kills += finished ? 0 : 1;
    expect((await qemuBytes(made.overlay)).equals(before), `killed at ${step}`).toBe(true);
    const check = JSON.parse(
      await qemuImg('check', '--output=json', made.overlay).catch((error) => error.stdout),
    );
    expect(check, `killed at ${step}`).not.toHaveProperty('corruptions');
    await made.rebase();
    expect((await qemuBytes(made.overlay)).equals(before), `again after ${step}`).toBe(true);
  }
  expect(kills).toBeGreaterThan(5);
});

describe('where the new base is', () => {
  test('rebaseOverlay makes it in a folder, with a relative name, and shares it', async () => {
    const made = await place();
    const before = await qemuBytes(made.overlay);
    mkdirSync(made.file('bases'));
    const { backing } = await made.rebase({ base: made.file('bases') });
    expect(backing).toBe(`bases/${await baseName(made, 'golden')}`);
    const { ino } = statSync(made.file(backing));
    await made.rebase({ onto: 'golden~1', base: made.file('base.qcow2') });
    expect((await made.rebase({ base: made.file('bases/') })).backing).toBe(backing);
    expect(statSync(made.file(backing)).ino).toBe(ino);
    expect((await qemuBytes(made.overlay)).equals(before)).toBe(true);
  });

  test('rebaseOverlay stands on a file that holds the version, whatever its format, and on one named with a colon', async () => {
    const made = await place();
    const before = await qemuBytes(made.overlay);
    await checkoutVersion(made.store, { revision: 'golden', output: made.file('new.raw') });
    expect((await made.rebase({ base: made.file('new.raw') })).backing).toBe('new.raw');
    expect((await qemuBytes(made.overlay)).equals(before)).toBe(true);
    expect((await made.rebase({ onto: 'golden~1', base: made.file('nbd:x.qcow2') })).backing).toBe(
      './nbd:x.qcow2',
    );
    expect((await qemuBytes(made.overlay)).equals(before)).toBe(true);
    await qemuCheck(made.overlay);
  });

  test.each([
    ['holds another version', 'base.qcow2', 'EXISTS'],
    ['is the overlay', 'vm.qcow2', 'USAGE'],
    ['stands on the overlay', 'above.qcow2', 'USAGE'],
    ['would be raw', 'new.raw', 'USAGE'],
    ['is in a folder that is not there', 'no/such.qcow2', 'NOT_FOUND'],
    ['is the store', '.imgstore/base.qcow2', 'USAGE'],
    [
      'has a name too long for the header',
      `${'d'.repeat(200)}/${'e'.repeat(200)}/${'f'.repeat(200)}/${'g'.repeat(200)}/${'h'.repeat(200)}/${'i'.repeat(200)}.qcow2`,
      'UNSUPPORTED',
    ],
  ])('rebaseOverlay throws for a base file that %s, and leaves the overlay', async (_, name, code) => {
    const made = await place();
    await createOverlay(made.file('above.qcow2'), 'vm.qcow2');
    if (code === 'UNSUPPORTED') mkdirSync(made.file(name.replace(/\/[^/]*$/, '')), { recursive: true });
    const before = readFileSync(made.overlay);
    await expect(made.rebase({ base: made.file(name) })).rejects.toMatchObject({ code });
    expect(readFileSync(made.overlay).equals(before)).toBe(true);
  });
});

describe('what the old base holds', () => {
  test('rebaseOverlay goes by the version that the header names when the file is gone', async () => {
    const made = await place();
    const before = await qemuBytes(made.overlay);
    rmSync(made.file('base.qcow2'));
    await made.rebase();
    expect((await qemuBytes(made.overlay)).equals(before)).toBe(true);
  });

  test('rebaseOverlay keeps what an overlay between shows, when what that stands on is gone', async () => {
    const made = await place();
    const top = made.file('top.qcow2');
    const options = `cluster_size=${SMALL}`;
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', options, '-b', 'vm.qcow2', '-F', 'qcow2', top);
    await qemuIo(top, 'write -P 4 1k 1k');
    const before = await qemuBytes(top);
    rmSync(made.file('base.qcow2'));
    await expect(made.rebase({ overlay: top })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await settle();
    await commitVersion(made.store, { disks: [{ name: 'vda', path: made.overlay }], branch: 'vm' });
    await made.rebase({ overlay: top });
    expect((await qemuBytes(top)).equals(before)).toBe(true);
  });

  test('rebaseOverlay reads a file that was moved, and refuses one that was written to', async () => {
    const made = await place();
    const before = await qemuBytes(made.overlay);
    const elsewhere = made.file('elsewhere');
    mkdirSync(elsewhere);
    for (const name of ['vm.qcow2', 'base.qcow2']) renameSync(made.file(name), `${elsewhere}/${name}`);
    const overlay = `${elsewhere}/vm.qcow2`;
    copyFileSync(`${elsewhere}/base.qcow2`, made.file('whole.qcow2'));
    await qemuIo(`${elsewhere}/base.qcow2`, 'write -P 3 0 1k');
    const written = readFileSync(overlay);
    await expect(made.rebase({ overlay })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('run imgstore commit on that file first'),
    });
    expect(readFileSync(overlay).equals(written)).toBe(true);
    renameSync(made.file('whole.qcow2'), `${elsewhere}/base.qcow2`);
    await made.rebase({ overlay });
    expect((await qemuBytes(overlay)).equals(before)).toBe(true);
  });

  test('rebaseOverlay rebases an overlay that qemu-img made on a committed file, whose header says nothing then', async () => {
    const made = await place();
    const overlay = made.file('other.qcow2');
    await createOverlay(overlay, 'base.qcow2', 'qcow2', { clusterSize: SMALL });
    await qemuIo(overlay, 'write -P 9 5k 6k');
    const before = await qemuBytes(overlay);
    await made.rebase({ overlay });
    expect((await qemuBytes(overlay)).equals(before)).toBe(true);
    await qemuCheck(overlay);
    expect((await describeDisk(overlay)).origin).toMatchObject({ base: undefined });
  });
});

test.each([
  [
    'internal snapshots',
    async ({ overlay }: Place) => qemuImg('snapshot', '-c', 's', overlay),
    'UNSUPPORTED',
  ],
  [
    'a bitmap that counts',
    async ({ overlay }: Place) => qemuImg('bitmap', '--add', overlay, 'b'),
    'UNSUPPORTED',
  ],
  [
    'no backing file',
    async ({ overlay, file }: Place) => {
      await qemuImg('convert', '-O', 'qcow2', overlay, file('flat.qcow2'));
      renameSync(file('flat.qcow2'), overlay);
    },
    'UNSUPPORTED',
  ],
  [
    'clusters of another size',
    async ({ overlay }: Place) => {
      rmSync(overlay);
      await createOverlay(overlay, 'base.qcow2');
    },
    'UNSUPPORTED',
  ],
  ['no right to be written to', async ({ overlay }: Place) => chmod(overlay, 0o444), 'FORBIDDEN'],
  ['no file', async ({ overlay }: Place) => rmSync(overlay), 'NOT_FOUND'],
])('rebaseOverlay throws for an overlay with %s, and makes no base file', async (_, change, code) => {
  const made = await place();
  await change(made);
  const files = readdirSync(made.file('.'));
  await expect(made.rebase()).rejects.toMatchObject({ code });
  expect(readdirSync(made.file('.'))).toEqual(files);
});

test('rebaseOverlay remembers what an overlay holds whose version is known', async () => {
  const made = await place();
  const disks = [{ name: 'vda', path: made.overlay }];
  await settle();
  await commitVersion(made.store, { disks });
  await made.rebase();
  const { disks: stored } = await commitVersion(made.store, { disks });
  expect(stored).toMatchObject([{ readBytes: 0 }]);
});

test('rebaseOverlay throws IN_USE while a QEMU has the overlay open', async () => {
  const made = await place();
  const qemu: ChildProcess = spawn('qemu-io', ['-f', 'qcow2', made.overlay], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  onTestFinished(async () => {
    qemu.stdin!.end('quit\n');
    await once(qemu, 'exit');
  });
  qemu.stdin!.write('read 0 512\n');
  await once(qemu.stdout!, 'data');
  await sleep(50);
  const before = readFileSync(made.overlay);
  await expect(made.rebase()).rejects.toMatchObject({ code: 'IN_USE' });
  expect(readFileSync(made.overlay).equals(before)).toBe(true);
  expect(existsSync(made.file(await baseName(made, 'golden')))).toBe(false);
});
