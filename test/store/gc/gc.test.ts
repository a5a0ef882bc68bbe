import { chmodSync, cpSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import { collectGarbage, commitVersion, createBranch, deleteRef, packStore } from '../../../store/index.ts';
import { BRANCHES } from '../../../store/refs/name.ts';
import { Announcement } from '../../../store/work/announcement.ts';
import { readSweeps } from '../../../store/work/sweeps.ts';
import { failAtEach } from '../../files/fault.ts';
import { noise } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { git, gitFsck, gitObjects, gitWith, tryGit } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL, type TestStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';

/** Clusters of which each version edits some, so that packs have deltas: of version `n`. */
function edited(n: number): Buffer {
  return Buffer.concat(
    Array.from({ length: 20 }, (_, i) => {
      const bytes = noise(SMALL, 100 + i);
      if (i % 2 === 0) bytes.writeUInt32LE(1 + n, (i * 40) % SMALL);
      return bytes;
    }),
  );
}

/** Makes all files of objects look as if they were used last so many days ago. */
function age(path: string, days: number): void {
  const time = Date.now() / 1000 - days * 86_400;
  for (const entry of readdirSync(join(path, 'objects'), { recursive: true, withFileTypes: true }))
    if (entry.isFile()) utimesSync(join(entry.parentPath, entry.name), time, time);
}

async function reachable(path: string): Promise<string[]> {
  const text = await git(path, 'rev-list', '--objects', '--all', '--reflog', '--no-object-names');
  return [...new Set(text.split('\n').filter((line) => line !== ''))].sort();
}

async function stored(path: string): Promise<string[]> {
  return (await gitObjects(path)).map((line) => line.split(' ')[0]!).sort();
}

/** A branch `web` of four versions, and a branch `gone` that was removed; `packed` how many times on the way. */
async function storeWithGarbage(packed: 'loose' | 'once' | 'often'): Promise<TestStore> {
  const made = await newStore();
  for (let n = 0; n < 4; n++) {
    await commitBytes(made, 'web', edited(n));
    await commitBytes(made, 'gone', Buffer.concat([edited(n), edited(50 + n)]));
    if (packed === 'often') await packStore(await reopen(made.path));
  }
  if (packed === 'once') await packStore(await reopen(made.path));
  await deleteRef(made.store, BRANCHES, 'gone');
  return made;
}

test.each(['loose', 'once', 'often'] as const)(
  'collectGarbage leaves just what refs and their logs lead to when objects were packed: %s',
  async (packed) => {
    const made = await storeWithGarbage(packed);
    const before = await stored(made.path);
    const result = await collectGarbage(await reopen(made.path), { prune: 'now' });
    expect(await stored(made.path)).toEqual(await reachable(made.path));
    expect(result.removed).toBe(before.length - (await stored(made.path)).length);
    expect(result.removed).toBeGreaterThan(20);
    expect(result.unreachable).toBe(0);
    expect(result.storedBytesAfter).toBeLessThan(result.storedBytesBefore);
    await gitFsck(made.path);
    const store = await reopen(made.path);
    for (let n = 0; n < 4; n++) expect(await readBack(store, `web~${3 - n}`)).toEqual(edited(n));
    expect((await collectGarbage(store, { prune: 'now' })).removed).toBe(0);
  },
);

test.each(['loose', 'often'] as const)(
  'collectGarbage keeps what is younger than two weeks, and removes it when it is older, when objects are %s',
  async (packed) => {
    const made = await storeWithGarbage(packed);
    const before = await stored(made.path);
    const first = await collectGarbage(await reopen(made.path));
    expect(first).toMatchObject({ removed: 0 });
    expect(first.unreachable).toBeGreaterThan(20);
    expect(await stored(made.path)).toEqual(before);
    age(made.path, 13);
    expect((await collectGarbage(await reopen(made.path))).removed).toBe(0);
    await commitBytes({ ...made, store: await reopen(made.path) }, 'web', edited(9));
    await gitFsck(made.path);
    age(made.path, 15);
    // In a cruft pack the times of the objects count, not that of the file.
    for (const name of readdirSync(join(made.path, 'objects/pack')).filter((each) =>
      each.endsWith('.mtimes'),
    ))
      rmSync(join(made.path, 'objects/pack', name));
    expect((await collectGarbage(await reopen(made.path))).removed).toBe(first.unreachable);
    expect(await stored(made.path)).toEqual(await reachable(made.path));
    await gitFsck(made.path);
  },
);

test('collectGarbage puts young unreachable objects of a pack into a cruft pack that git takes for one', async () => {
  const made = await storeWithGarbage('once');
  age(made.path, 3);
  const { unreachable } = await collectGarbage(await reopen(made.path));
  const names = readdirSync(join(made.path, 'objects/pack'));
  expect(names.filter((name) => name.endsWith('.mtimes')).length).toBe(1);
  await gitFsck(made.path);
  const before = await stored(made.path);
  await git(made.path, 'repack', '-d', '--cruft', '--cruft-expiration=1.week.ago');
  expect(await stored(made.path)).toEqual(before);
  await git(made.path, 'repack', '-d', '--cruft', '--cruft-expiration=2.days.ago');
  expect((await stored(made.path)).length).toBe(before.length - unreachable);
});

test('collectGarbage reads the cruft packs that git makes', async () => {
  const made = await storeWithGarbage('loose');
  age(made.path, 3);
  await git(made.path, 'repack', '-ad', '--cruft', '--cruft-expiration=never');
  const before = await stored(made.path);
  expect((await collectGarbage(await reopen(made.path), { prune: '4 days' })).removed).toBe(0);
  expect(await stored(made.path)).toEqual(before);
  expect((await collectGarbage(await reopen(made.path), { prune: '2 days' })).removed).toBeGreaterThan(20);
  expect(await stored(made.path)).toEqual(await reachable(made.path));
  await gitFsck(made.path);
});

test('collectGarbage brings objects of a cruft pack back when a ref leads to them again', async () => {
  const made = await storeWithGarbage('once');
  const gone = await git(made.path, 'fsck', '--unreachable', '--no-reflogs');
  const tips = [...gone.matchAll(/unreachable commit (\S+)/g)].map((match) => match[1]!);
  await collectGarbage(await reopen(made.path));
  for (const [i, tip] of tips.entries()) await createBranch(await reopen(made.path), `back-${i}`, tip);
  const { removed } = await collectGarbage(await reopen(made.path), { prune: 'now' });
  expect(removed).toBe(0);
  expect(readdirSync(join(made.path, 'objects/pack')).some((name) => name.endsWith('.mtimes'))).toBe(false);
  expect(await stored(made.path)).toEqual(await reachable(made.path));
  await gitFsck(made.path);
});

test('a commit stores again what is only in a cruft pack', async () => {
  const made = await storeWithGarbage('once');
  await collectGarbage(await reopen(made.path));
  const store = await reopen(made.path);
  const whole = Buffer.concat([edited(3), edited(53)]);
  const { newObjects } = await commitBytes({ ...made, store }, 'again', whole);
  expect(newObjects).toBeGreaterThan(5);
  for (const name of readdirSync(join(made.path, 'objects/pack')).filter((each) => each.endsWith('.mtimes')))
    for (const ending of ['idx', 'rev', 'mtimes', 'pack'])
      rmSync(join(made.path, 'objects/pack', name.replace('mtimes', ending)));
  await gitFsck(made.path);
  expect(await readBack(await reopen(made.path), 'again')).toEqual(whole);
});

test('collectGarbage keeps what a process at work has stored, used again, or reads', async () => {
  const made = await storeWithGarbage('often');
  const gone = await git(made.path, 'fsck', '--unreachable', '--no-reflogs');
  const tips = [...gone.matchAll(/unreachable commit (\S+)/g)].map((match) => match[1]!);
  age(made.path, 100);
  const reader = Announcement.make(made.path, {}, 'reads', [tips[0]!]);
  const store = await reopen(made.path);
  const transaction = store.begin();
  const kept = await transaction.put('blob', noise(SMALL, 100 + 3));
  const fresh = await transaction.put('blob', Buffer.from('stored just now'));
  await transaction.publish();
  await collectGarbage(await reopen(made.path), { prune: 'now' });
  expect(tryGit(made.path, 'rev-list', '--objects', tips[0]!)).toBeDefined();
  expect(await stored(made.path)).toEqual(expect.arrayContaining([kept, fresh]));
  reader.withdraw();
  await transaction.discard();
  await collectGarbage(await reopen(made.path), { prune: 'now' });
  expect(await stored(made.path)).toEqual(await reachable(made.path));
});

test('collectGarbage keeps an old unreachable object that a commit has claimed before it began', async () => {
  for (const packed of ['loose', 'once'] as const) {
    const made = await storeWithGarbage(packed);
    age(made.path, 100);
    const lost = (await git(made.path, 'fsck', '--unreachable', '--no-reflogs'))
      .split('\n')
      .flatMap((line) => /unreachable blob (\S+)/.exec(line)?.[1] ?? []);
    const store = await reopen(made.path);
    const transaction = store.begin();
    expect(transaction.claim(lost[0]!)).toBe(false);
    await collectGarbage(await reopen(made.path), { prune: 'now' });
    expect(await stored(made.path)).toContain(lost[0]!);
    await transaction.discard();
  }
});

test.each(['create', 'rename', 'remove'] as const)(
  'collectGarbage removes nothing that a ref comes to lead to before %s',
  async (action) => {
    for (const packed of ['loose', 'often'] as const) {
      const made = await storeWithGarbage(packed);
      const gone = await git(made.path, 'fsck', '--unreachable', '--no-reflogs');
      const tip = /unreachable commit (\S+)/.exec(gone)![1]!;
      let moved: Promise<unknown> | undefined;
      const other = await reopen(made.path);
      const stop = watchPoints((point) => {
        if (moved !== undefined || !point.endsWith(action) || /^(work|pack-lock)/.test(point)) return;
        moved = createBranch(other, 'late', tip).catch((error: unknown) => error);
      });
      try {
        await collectGarbage(await reopen(made.path), { prune: 'now' });
      } finally {
        stop();
      }
      const result = await moved;
      // It was told that the version is gone, or the version is whole.
      if (result instanceof Error)
        expect(result).toMatchObject({ code: expect.stringMatching(/BUSY|NOT_FOUND/) });
      await gitFsck(made.path);
    }
  },
);

test('collectGarbage removes nothing and says so when a ref or a tree cannot be read', async () => {
  const made = await storeWithGarbage('loose');
  const before = await stored(made.path);
  writeFileSync(join(made.path, 'refs/heads/bad'), 'nonsense\n');
  await expect(collectGarbage(await reopen(made.path), { prune: 'now' })).rejects.toMatchObject({
    code: 'DAMAGED',
    message: expect.stringMatching(/refs\/heads\/bad.*nothing was removed/),
  });
  rmSync(join(made.path, 'refs/heads/bad'));
  expect(await stored(made.path)).toEqual(before);
  const tree = await git(made.path, 'rev-parse', 'web:disks/vda');
  rmSync(join(made.path, 'objects', tree.slice(0, 2), tree.slice(2)));
  await expect(collectGarbage(await reopen(made.path), { prune: 'now' })).rejects.toMatchObject({
    code: 'DAMAGED',
    message: expect.stringContaining(tree),
  });
  expect(await stored(made.path)).toEqual(before.filter((id) => id !== tree));
});

test('collectGarbage says BUSY while another process packs or collects', async () => {
  const made = await storeWithGarbage('loose');
  const [one, other] = [await reopen(made.path), await reopen(made.path)];
  const results = await Promise.allSettled([collectGarbage(one), collectGarbage(other)]);
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(results.find((result) => result.status === 'rejected')!.reason).toMatchObject({ code: 'BUSY' });
});

test('collectGarbage refuses a time that is none before it looks at anything', async () => {
  const { store } = await newStore();
  await expect(collectGarbage(store, { prune: 'soon' })).rejects.toMatchObject({ code: 'USAGE' });
});

test('collectGarbage expires lines of logs as gc.reflogExpireUnreachable says, and what only they led to', async () => {
  const made = await newStore(SMALL);
  writeFileSync(join(made.path, 'config'), '[gc]\n\treflogExpireUnreachable = now\n', { flag: 'a' });
  for (let n = 0; n < 3; n++)
    await commitBytes({ ...made, store: await reopen(made.path) }, 'web', edited(n));
  await createBranch(await reopen(made.path), 'web', 'web~2', true);
  await collectGarbage(await reopen(made.path), { prune: 'now' });
  await gitFsck(made.path);
  expect(await git(made.path, 'rev-list', '--count', '--all', '--reflog')).toBe('1');
  expect(await stored(made.path)).toEqual(await reachable(made.path));
});

test('collectGarbage keeps all of a stash, whatever says when logs expire', async () => {
  const made = await newStore(SMALL);
  writeFileSync(join(made.path, 'config'), '[gc]\n\treflogExpireUnreachable = now\n', { flag: 'a' });
  await commitBytes(made, 'web', edited(0));
  for (const n of [1, 2]) {
    await git(made.path, 'branch', 'work', 'web');
    await commitBytes({ ...made, store: await reopen(made.path) }, 'work', edited(n));
    await git(made.path, 'update-ref', '--create-reflog', '-m', `${n}`, 'refs/stash', 'work');
    await git(made.path, 'branch', '-D', 'work');
  }
  await collectGarbage(await reopen(made.path), { prune: 'now' });
  await gitFsck(made.path);
  expect(await readBack(await reopen(made.path), 'stash@{1}')).toEqual(edited(1));
});

test('collectGarbage leaves every version whole when the disk fails at any point', async () => {
  const made = await storeWithGarbage('often');
  const failed = await failAtEach(
    async () => {
      await collectGarbage(await reopen(made.path), { prune: 'now' });
    },
    async (error) => {
      expect(error).toMatchObject({ code: 'IO' });
      await gitFsck(made.path);
      expect(await readBack(await reopen(made.path), 'web~3')).toEqual(edited(0));
    },
  );
  expect(failed.length).toBeGreaterThan(10);
  expect(await stored(made.path)).toEqual(await reachable(made.path));
  expect(readSweeps(made.path).sweeper).toBeUndefined();
});

test('a commit of a file that is known stores again what a sweep that failed has taken of its version', async () => {
  const made = await newStore();
  const bytes = diskOf([1, 2, 3, 4, 5, 6]);
  const path = made.file('web.raw');
  writeFileSync(path, bytes);
  const commit = async () =>
    commitVersion(await reopen(made.path), { disks: [{ name: 'vda', path }], branch: 'web' });
  await sleep(50);
  await commit();
  expect((await commit()).disks[0]!.readBytes).toBe(0);
  await commitBytes(made, 'other', diskOf([9]));
  const cluster = (await git(made.path, 'ls-tree', '-r', 'web', 'disks')).split(/\s/)[2]!;
  cpSync(join(made.path, 'objects'), made.file('before'), { recursive: true });
  await deleteRef(made.store, BRANCHES, 'web');
  let removals = 0;
  const stop = watchPoints((point, file) => {
    if (point === 'loose.remove' && ++removals === 3) throw Object.assign(new Error(file), { code: 'EIO' });
  });
  await expect(collectGarbage(await reopen(made.path), { prune: 'now' })).rejects.toMatchObject({
    code: 'IO',
  });
  stop();
  // As if packs had gone in another order: all that leads to the cluster is there.
  cpSync(made.file('before'), join(made.path, 'objects'), { recursive: true });
  rmSync(join(made.path, 'objects', cluster.slice(0, 2), cluster.slice(2)));
  await commit();
  expect(await readBack(await reopen(made.path), 'web')).toEqual(bytes);
  await gitFsck(made.path);
  expect((await commit()).disks[0]!.readBytes).toBe(0);
});

test.each([
  [
    'whose config forbids to remove objects',
    () => ['config', 'extensions.preciousObjects', 'true'],
    'preciousObjects',
  ],
  [
    'with a working tree',
    (tree: string) => ['worktree', 'add', '-q', '--no-checkout', '--detach', tree, 'gone'],
    'worktree',
  ],
])('collectGarbage removes nothing from a store %s', async (_, command, part) => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 3]));
  const { commit } = await commitBytes(made, 'gone', diskOf([7, 8, 9]));
  await git(made.path, ...command(made.file('tree')));
  await deleteRef(made.store, BRANCHES, 'gone');
  await expect(collectGarbage(await reopen(made.path), { prune: 'now' })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining(part),
  });
  expect(await git(made.path, 'cat-file', '-t', commit)).toBe('commit');
  await gitFsck(made.path);
});

test.each([
  ['a pack has a damaged index', 'idx'],
  ['a tree is damaged', 'tree'],
])('collectGarbage removes nothing when only a log leads to a version of which %s', async (_, kind) => {
  const made = await newStore();
  await commitBytes(made, 'web', diskOf([1, 2, 3]));
  const { commit, tree } = await commitBytes(made, 'web', diskOf([7, 8, 9]));
  const looseOf = (id: string) => join(made.path, 'objects', id.slice(0, 2), id.slice(2));
  let damaged = looseOf(tree);
  if (kind === 'idx') {
    const folder = join(made.path, 'objects/pack');
    const name = gitWith(made.path, { input: `${commit}\n` }, 'pack-objects', '-q', join(folder, 'pack'));
    damaged = join(folder, `pack-${name}.idx`);
    rmSync(looseOf(commit));
  }
  await createBranch(await reopen(made.path), 'web', 'web~1', true);
  const whole = readFileSync(damaged);
  chmodSync(damaged, 0o600);
  writeFileSync(damaged, Buffer.concat([Buffer.from('damage'), whole.subarray(6)]));
  age(made.path, 20);
  await expect(collectGarbage(await reopen(made.path))).rejects.toMatchObject({
    code: 'DAMAGED',
    message: expect.stringContaining('nothing was removed'),
  });
  writeFileSync(damaged, whole);
  expect((await collectGarbage(await reopen(made.path))).removed).toBe(0);
  expect(await readBack(await reopen(made.path), 'web@{1}')).toEqual(diskOf([7, 8, 9]));
  await gitFsck(made.path);
});

test.each(['loose', 'packed'])(
  'collectGarbage removes nothing when all refs of %s versions are gone',
  async (kind) => {
    const made = await newStore();
    const { commit } = await commitBytes(made, 'web', diskOf([1, 2, 3]));
    if (kind === 'packed') await packStore(await reopen(made.path));
    rmSync(join(made.path, 'logs'), { recursive: true });
    rmSync(join(made.path, 'refs/heads/web'));
    age(made.path, 20);
    await expect(collectGarbage(await reopen(made.path), { prune: 'now' })).rejects.toMatchObject({
      code: 'DAMAGED',
      message: expect.stringContaining('no ref leads to any version'),
    });
    expect(await git(made.path, 'fsck')).toContain(`dangling commit ${commit}`);
    await createBranch(await reopen(made.path), 'web', commit.slice(0, 12));
    expect((await collectGarbage(await reopen(made.path), { prune: 'now' })).removed).toBe(0);
    expect(await readBack(await reopen(made.path), 'web')).toEqual(diskOf([1, 2, 3]));
  },
);
