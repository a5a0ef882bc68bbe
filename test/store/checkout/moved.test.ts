import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, truncateSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { checkoutVersion, DiskSource, readVersion, resolveCommit } from '../../../store/index.ts';
import { noise, readAll } from '../../qcow2/qemu.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, reopen, type TestStore } from '../new-store.ts';
import { beforeFirst } from '../watch-jobs.ts';

/** Below it work is done in place, above it in threads. */
const SIZES = [2 * 2 ** 20, 20 * 2 ** 20];

function gitNow(path: string, ...args: readonly string[]): void {
  execFileSync('git', ['--git-dir', path, ...args], { stdio: 'ignore' });
}

async function committed(size: number, unpackLimit: number): Promise<TestStore & { bytes: Buffer }> {
  const made = await newStore(65536, { unpackLimit });
  const bytes = noise(size, 5);
  await commitBytes(made, 'web', bytes);
  return { ...made, store: await reopen(made.path), bytes };
}

async function checkedOut({ store, file }: TestStore, compress?: 'zlib'): Promise<void> {
  await checkoutVersion(store, { revision: 'web', output: file('out.qcow2'), compress });
}

/** The bytes of the checkout, as QEMU reads them. */
function read({ file }: TestStore): Buffer {
  execFileSync('qemu-img', ['convert', '-O', 'raw', file('out.qcow2'), file('out.raw')]);
  return readFileSync(file('out.raw'));
}

test.each(SIZES)(
  'checkoutVersion of %d bytes goes on when git packs the loose clusters between locating and reading',
  async (size) => {
    const made = await committed(size, 100_000);
    const calls = beforeFirst('restore', () => gitNow(made.path, 'repack', '-adq'));
    await checkedOut(made);
    expect(calls()).toBeGreaterThan(1);
    expect(read(made).equals(made.bytes)).toBe(true);
  },
);

test.each(SIZES)(
  'checkoutVersion of %d bytes goes on when git replaces the pack between locating and reading',
  async (size) => {
    const made = await committed(size, 1);
    const calls = beforeFirst('restorePacked', () => {
      gitNow(made.path, 'commit-tree', '-m', 'more', 'web^{tree}');
      gitNow(made.path, 'repack', '-adqF', '--depth=0', '--window=0');
    });
    await checkedOut(made);
    expect(calls()).toBeGreaterThan(0);
    expect(read(made).equals(made.bytes)).toBe(true);
  },
);

test('checkoutVersion goes on when loose copies of packed clusters are pruned', async () => {
  const made = await committed(2 * 2 ** 20, 100_000);
  // Opened before there is a pack, so that the loose copies are what it finds.
  expect(made.store.objects.packs.packs()).toEqual([]);
  await git(made.path, 'repack', '-aq');
  beforeFirst('restore', () => gitNow(made.path, 'prune-packed'));
  await checkedOut(made);
  expect(read(made).equals(made.bytes)).toBe(true);
});

test('checkoutVersion --compress goes on when git packs the loose clusters', async () => {
  const made = await committed(2 * 2 ** 20, 100_000);
  beforeFirst('compress', () => gitNow(made.path, 'repack', '-adq'));
  await checkedOut(made, 'zlib');
  expect(read(made).equals(made.bytes)).toBe(true);
});

test('DiskSource.read goes on when git repacks between two reads', async () => {
  const made = await committed(2 * 2 ** 20, 100_000);
  const { store, path, bytes } = made;
  const source = new DiskSource(
    store.objects,
    readVersion(store.objects, await resolveCommit(store, 'web')).disks[0]!,
  );
  const first = Buffer.alloc(2 ** 20);
  await source.read(0, first);
  gitNow(path, 'repack', '-adq');
  const second = Buffer.alloc(2 ** 20);
  await source.read(2 ** 20, second);
  expect(Buffer.concat([first, second]).equals(bytes)).toBe(true);
  gitNow(path, 'repack', '-adqF', '--depth=0');
  expect((await readAll(source)).equals(bytes)).toBe(true);
});

test('checkoutVersion throws NOT_FOUND naming the cluster that is gone for good', async () => {
  const made = await committed(2 * 2 ** 20, 100_000);
  const id = await git(made.path, 'rev-parse', 'web:disks/vda/03');
  beforeFirst('restore', () => execFileSync('rm', ['-f', made.store.objects.loose.path(id)]));
  await expect(checkedOut(made)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining(`object ${id} is not in the store`),
  });
});

test.each(['packed', 'entry', 'loose'])(
  'checkoutVersion and reads take another copy of a cluster whose %s one is damaged',
  async (damaged) => {
    const made = await committed(2 * 2 ** 20, 100_000);
    await git(made.path, 'repack', '-aq');
    const id = await git(made.path, 'rev-parse', 'web:disks/vda/03');
    const notices: string[] = [];
    const { Store } = await import('../../../store/index.ts');
    const store = await Store.open(made.path, { onNotice: (notice) => notices.push(notice) });
    onTestFinished(() => store.close());
    const { pack, offset } = store.objects.packs.find(id)!;
    const path = damaged === 'loose' ? store.objects.loose.path(id) : pack.path;
    chmodSync(path, 0o644);
    if (damaged === 'loose') truncateSync(path, 100);
    else if (damaged === 'packed') await flip(path, pack.streamsAt(offset).base.offset + 1000);
    // The head of the entry: its type.
    else await flip(path, offset);
    await checkedOut({ ...made, store });
    expect(read(made).equals(made.bytes)).toBe(true);
    expect(notices.length).toBe(damaged === 'loose' ? 0 : 1);
    for (const notice of notices) expect(notice).toMatch(/: another copy is read instead$/);
  },
);

async function flip(path: string, at: number): Promise<void> {
  const { open } = await import('node:fs/promises');
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  byte[0]! ^= 0xff;
  await file.write(byte, 0, 1, at);
  await file.close();
}
