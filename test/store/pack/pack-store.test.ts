import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import { commitVersion, packStore, readVersion, type Store } from '../../../store/index.ts';
import { resolveCommit } from '../../../store/revision/resolve.ts';
import { ClusterWorkers } from '../../../store/workers/pool.ts';
import { failAtEach } from '../../files/fault.ts';
import { noise } from '../../qcow2/qemu.ts';
import { git, gitFsck, gitObjects } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL, type TestStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';

/** A cluster of text-like bytes that another of the same seed but another edit is nearly the same as. */
function cluster(seed: number, edit: number): Buffer {
  const bytes = noise(SMALL, seed);
  for (let at = 0; at < SMALL; at++) bytes[at] = 0x61 + (bytes[at]! & 0x0f);
  noise(64, 1000 + edit).copy(bytes, (edit * 97) % (SMALL - 64));
  return bytes;
}

function disk(edits: readonly number[]): Buffer {
  return Buffer.concat(edits.map((edit, i) => (edit === 0 ? Buffer.alloc(SMALL) : cluster(i + 1, edit))));
}

/** Versions of one disk in which some clusters were edited each time. */
const HISTORY = Array.from({ length: 6 }, (_, version) =>
  Array.from({ length: 40 }, (_, i) => (i % 7 === 6 ? 0 : 1 + (i % 5 <= version ? version : 0))),
);

async function commitHistory(
  made: TestStore,
  history: readonly (readonly number[])[] = HISTORY,
): Promise<void> {
  for (const edits of history) await commitBytes(made, 'web', disk(edits));
}

async function expectHistory(store: Store, history: readonly (readonly number[])[] = HISTORY): Promise<void> {
  for (const [i, edits] of [...history].reverse().entries())
    expect((await readBack(store, `web~${i}`)).equals(disk(edits))).toBe(true);
}

function packFiles(path: string): string[] {
  return readdirSync(join(path, 'objects/pack')).filter((name) => name.endsWith('.pack'));
}

/** Chain lengths by git's own reckoning. */
async function gitDepths(path: string): Promise<number[]> {
  const depths: number[] = [];
  for (const name of packFiles(path)) {
    const text = await git(path, 'verify-pack', '-v', join(path, 'objects/pack', name));
    for (const line of text.split('\n')) {
      const fields = line.trim().split(/\s+/);
      if (/^[0-9a-f]{64}$/.test(fields[0]!) && fields[5] !== undefined) depths.push(Number(fields[5]));
    }
  }
  return depths;
}

test('packStore gathers loose objects into one pack with deltas that git reads', async () => {
  const made = await newStore();
  await commitHistory(made);
  const objects = await gitObjects(made.path);
  const result = await packStore(made.store);
  expect(result).toMatchObject({ packs: 1, objects: objects.length });
  expect(result.deltas).toBeGreaterThan(20);
  expect(result.storedBytesAfter).toBeLessThan(result.storedBytesBefore / 2);
  expect([...made.store.objects.loose.ids()]).toEqual([]);
  await gitFsck(made.path);
  expect(await gitObjects(made.path)).toEqual(objects);
  expect(await gitDepths(made.path)).toHaveLength(result.deltas);
  await expectHistory(made.store);
  await expectHistory(await reopen(made.path));
});

test('packStore does nothing when everything is packed', async () => {
  const made = await newStore();
  await commitHistory(made);
  await packStore(made.store);
  const files = packFiles(made.path);
  expect(await packStore(made.store)).toMatchObject({ objects: 0, deltas: 0, packs: 1 });
  expect(packFiles(made.path)).toEqual(files);
});

test('packStore counts the deltas of the pack that it takes over too', async () => {
  const made = await newStore();
  await commitHistory(made, HISTORY.slice(0, 4));
  await packStore(made.store);
  await commitHistory(made, HISTORY.slice(4));
  const result = await packStore(made.store);
  const depths = await gitDepths(made.path);
  expect(result).toMatchObject({ packs: 1, objects: (await gitObjects(made.path)).length });
  expect(result.deltas).toBe(depths.length);
});

test('packStore does nothing in an empty store', async () => {
  const made = await newStore();
  expect(await packStore(made.store)).toMatchObject({ objects: 0, packs: 0, storedBytesAfter: 0 });
});

test('packStore keeps chains at most as long as imgstore.packDepth says, whatever was packed when', async () => {
  const made = await newStore(SMALL, { packDepth: 3 });
  const history = Array.from({ length: 14 }, (_, version) => [version + 1, 1, 1, 1, version + 1]);
  for (const [i, edits] of history.entries()) {
    await commitBytes(made, 'web', disk(edits));
    if (i % 3 === 2) await packStore(made.store);
  }
  await packStore(made.store);
  const depths = await gitDepths(made.path);
  expect(Math.max(...depths)).toBeLessThanOrEqual(3);
  expect(depths.length).toBeGreaterThan(5);
  await gitFsck(made.path);
  await expectHistory(made.store, history);
});

test('packStore makes no deltas when imgstore.packDepth is 0', async () => {
  const made = await newStore(SMALL, { packDepth: 0 });
  await commitHistory(made);
  expect(await packStore(made.store)).toMatchObject({ deltas: 0 });
  await expectHistory(made.store);
});

test.each([
  ['git repack with deltas', ['repack', '-adf', '--window=50', '--depth=50', '-q']],
  ['git repack with bases named by id', ['-c', 'repack.useDeltaBaseOffset=false', 'repack', '-adf', '-q']],
])('packStore takes over what %s made', async (_, args) => {
  const made = await newStore();
  await commitHistory(made, HISTORY.slice(0, 4));
  await git(made.path, ...args);
  const store = await reopen(made.path);
  await expectHistory(store, HISTORY.slice(0, 4));
  const before = await gitObjects(made.path);
  await packStore(store);
  await gitFsck(made.path);
  expect(await gitObjects(made.path)).toEqual(before);
  for (const edits of HISTORY.slice(4)) await commitBytes({ ...made, store }, 'web', disk(edits));
  await packStore(store);
  await gitFsck(made.path);
  await expectHistory(await reopen(made.path));
});

test('packStore --aggressive packs everything anew, and what it made is settled', async () => {
  const made = await newStore(SMALL, { unpackLimit: 4 });
  await commitHistory(made);
  await git(made.path, 'repack', '-adF', '--depth=0', '-q');
  const store = await reopen(made.path);
  const result = await packStore(store, { aggressive: true });
  expect(result.deltas).toBeGreaterThan(20);
  await gitFsck(made.path);
  await expectHistory(store);
  expect(await packStore(store)).toMatchObject({ objects: 0 });
});

test('packStore --aggressive judges objects that are deltas now by what they take whole', async () => {
  // Each version adds to the edits of the one before, so a delta against the next version is shorter than one against the last.
  const grown = (version: number) =>
    Buffer.concat(
      Array.from({ length: 10 }, (_, i) => {
        const bytes = cluster(i + 1, 0);
        for (let edit = 1; edit <= version; edit++) noise(100, edit).copy(bytes, edit * 300);
        return bytes;
      }),
    );
  const deltas: number[] = [];
  for (const args of [undefined, ['repack', '-adfq', '--window=50', '--depth=50']]) {
    const made = await newStore(SMALL, { packDepth: 1 });
    for (let version = 0; version < 8; version++) await commitBytes(made, 'web', grown(version));
    if (args !== undefined) await git(made.path, ...args);
    deltas.push((await packStore(await reopen(made.path), { aggressive: true })).deltas);
    await gitFsck(made.path);
  }
  expect(deltas[1]).toBeGreaterThan(deltas[0]! * 0.9);
});

test('packStore resolves packs in which two objects are deltas of each other', async () => {
  const made = await newStore();
  await commitHistory(made, HISTORY.slice(0, 2));
  await packStore(made.store);
  const [first] = packFiles(made.path);
  // The same objects once more, in a pack in which git has chosen the directions.
  const ids = (await gitObjects(made.path))
    .map((line) => line.split(' ')[0])
    .reverse()
    .join('\n');
  const stem = join(made.path, 'objects/pack/pack');
  execFileSync(
    'git',
    ['--git-dir', made.path, 'pack-objects', '-q', '--window=50', '--no-reuse-delta', stem],
    {
      input: `${ids}\n`,
    },
  );
  expect(packFiles(made.path)).toHaveLength(2);
  rmSync(join(made.path, 'imgstore/sketches'), { recursive: true });
  const store = await reopen(made.path);
  await packStore(store);
  expect(packFiles(made.path)).toHaveLength(1);
  expect(packFiles(made.path)).not.toEqual([first]);
  await gitFsck(made.path);
  await expectHistory(store, HISTORY.slice(0, 2));
});

test('packStore keeps chains short when a delta that it takes over stands on an object that it has as a delta already', async () => {
  const made = await newStore(SMALL, { packDepth: 1 });
  const edits = (version: number) => Array.from({ length: 20 }, () => version);
  const blobs = (revision: string) => git(made.path, 'ls-tree', '-r', '--format=%(objectname)', revision);
  await commitBytes(made, 'web', disk(edits(2)));
  await commitBytes(made, 'web', disk(edits(1)));
  expect((await packStore(made.store)).deltas).toBeGreaterThan(10);
  await commitBytes(made, 'web', disk(edits(3)));
  // One whole copy more of each object that is a delta now, and a delta against it.
  const ids = `${await blobs('web~2')}\n${await blobs('web')}\n`;
  const stem = join(made.path, 'objects/pack/pack');
  const args = [
    '--git-dir',
    made.path,
    'pack-objects',
    '-q',
    '--window=50',
    '--depth=1',
    '--no-reuse-delta',
    stem,
  ];
  execFileSync('git', args, { input: ids });
  await git(made.path, 'prune-packed', '-q');
  expect(await gitDepths(made.path)).not.toContain(2);
  await packStore(await reopen(made.path));
  expect(await gitDepths(made.path)).not.toContain(2);
  expect(packFiles(made.path)).toHaveLength(1);
  await gitFsck(made.path);
});

test('packStore leaves packs with a .keep file alone', async () => {
  const made = await newStore(SMALL, { unpackLimit: 4 });
  await commitBytes(made, 'web', disk(HISTORY[0]!));
  const [kept] = packFiles(made.path);
  writeFileSync(join(made.path, 'objects/pack', kept!.replace('.pack', '.keep')), '');
  await commitBytes(made, 'web', disk(HISTORY[1]!));
  await packStore(made.store);
  expect(packFiles(made.path)).toContain(kept);
  expect(packFiles(made.path)).toHaveLength(2);
  await gitFsck(made.path);
  await expectHistory(made.store, HISTORY.slice(0, 2));
});

test('packStore throws BUSY while another process packs', async () => {
  const made = await newStore();
  await commitHistory(made);
  const other = await reopen(made.path);
  const results = await Promise.allSettled([packStore(made.store), packStore(other)]);
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  const failed = results.find((result) => result.status === 'rejected');
  expect(failed?.reason).toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining('imgstore/locks/pack'),
  });
  await gitFsck(made.path);
});

const filesOf = ({ path }: TestStore) =>
  new Set(readdirSync(join(path, 'objects'), { recursive: true, encoding: 'utf8' }));

test('packStore throws INTERRUPTED and leaves the store as it was when it is stopped', async () => {
  const made = await newStore();
  await commitHistory(made);
  const before = filesOf(made);
  const controller = new AbortController();
  controller.abort();
  await expect(packStore(made.store, {}, { signal: controller.signal })).rejects.toMatchObject({
    code: 'INTERRUPTED',
  });
  expect(filesOf(made)).toEqual(before);
});

test('packStore leaves every object readable wherever it fails', async () => {
  const made = await newStore();
  await commitHistory(made, HISTORY.slice(0, 3));
  const points = await failAtEach(
    async () => {
      await packStore(made.store);
    },
    async () => {
      await gitFsck(made.path);
      const store = await reopen(made.path);
      await expectHistory(store, HISTORY.slice(0, 3));
      const left = readdirSync(join(made.path, 'objects/pack')).filter((name) => name.startsWith('tmp_'));
      expect(left).toEqual([]);
    },
  );
  expect(points).toEqual(
    expect.arrayContaining(['pack.create', 'pack.rename', 'idx.rename', 'loose.remove']),
  );
  expect([...made.store.objects.loose.ids()]).toEqual([]);
  await expectHistory(made.store, HISTORY.slice(0, 3));
});

test('packStore throws DAMAGED and removes nothing when an object cannot be read', async () => {
  const made = await newStore();
  await commitHistory(made);
  const store = made.store;
  const { disks } = readVersion(store.objects, await resolveCommit(store, 'web'));
  const victim = [...store.objects.loose.ids()].find(
    (id) => store.objects.loose.header(id)?.type === 'blob',
  )!;
  expect(disks).toHaveLength(1);
  const path = store.objects.loose.path(victim);
  rmSync(path);
  writeFileSync(path, 'no zlib stream');
  await expect(packStore(store)).rejects.toMatchObject({ code: 'DAMAGED' });
  expect(packFiles(made.path)).toEqual([]);
  expect(existsSync(path)).toBe(true);
});

test('packStore copies only what small commits make necessary', async () => {
  const made = await newStore();
  const edits = Array.from({ length: 60 }, () => 1);
  await commitBytes(made, 'web', disk(edits));
  await packStore(made.store);
  let copied = 0;
  const rounds = 30;
  let objects = 0;
  for (let i = 0; i < rounds; i++) {
    edits[i % edits.length] = 2 + i;
    objects += (await commitBytes(made, 'web', disk(edits))).newObjects;
    copied += (await packStore(made.store)).objects;
  }
  const total = (await gitObjects(made.path)).length;
  expect(copied).toBeLessThan(8 * Math.log2(rounds) * (objects + total / 8));
  expect(packFiles(made.path).length).toBeLessThanOrEqual(4);
  await gitFsck(made.path);
});

test('packStore keeps every version for any history', async () => {
  const edits = fc.array(fc.constantFrom(0, 1, 1, 2, 3), { minLength: 1, maxLength: 12 });
  const step = fc.record({ edits, pack: fc.boolean(), aggressive: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 5 }), async (steps) => {
      const made = await newStore(SMALL, { unpackLimit: 8 });
      for (const { edits, pack, aggressive } of steps) {
        await commitBytes(made, 'web', disk(edits), { allowEmpty: true });
        if (pack) await packStore(made.store, { aggressive });
      }
      await gitFsck(made.path);
      await expectHistory(
        await reopen(made.path),
        steps.map((each) => each.edits),
      );
    }),
    { numRuns: 12 },
  );
});

test('packStore throws BUSY before it writes a pack when the multi-pack-index is locked', async () => {
  const made = await newStore(SMALL, { unpackLimit: 4 });
  await commitBytes(made, 'web', disk(HISTORY[0]!));
  const [kept] = packFiles(made.path);
  writeFileSync(join(made.path, 'objects/pack', kept!.replace('.pack', '.keep')), '');
  await commitBytes(made, 'web', disk(HISTORY[1]!));
  const lock = join(made.path, 'objects/pack/multi-pack-index.lock');
  writeFileSync(lock, '');
  const before = filesOf(made);
  await expect(packStore(made.store)).rejects.toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining(lock),
  });
  expect(filesOf(made)).toEqual(before);
});

test('packStore passes by the empty file of an object, as a power failure leaves it', async () => {
  const made = await newStore();
  await commitHistory(made, HISTORY.slice(0, 2));
  const empty = made.store.objects.loose.path('0'.repeat(64));
  mkdirSync(dirname(empty), { recursive: true });
  writeFileSync(empty, '');
  await packStore(made.store);
  expect([...made.store.objects.loose.ids()]).toEqual(['0'.repeat(64)]);
  expect(await packStore(made.store)).toMatchObject({ objects: 0 });
  await expectHistory(made.store, HISTORY.slice(0, 2));
});

test('packStore throws DAMAGED and removes nothing when its new pack cannot be opened', async () => {
  const made = await newStore(SMALL, { unpackLimit: 4 });
  await commitHistory(made, HISTORY.slice(0, 2));
  const before = [...filesOf(made)];
  // Its index is damaged as soon as it has its name.
  const stop = watchPoints((point) => {
    if (point !== 'pack.fsync-folder') return;
    for (const name of filesOf(made))
      if (name.endsWith('.idx') && !before.includes(name))
        truncateSync(join(made.path, 'objects', name), 100);
  });
  await expect(packStore(made.store).finally(stop)).rejects.toMatchObject({
    code: 'DAMAGED',
    message: expect.stringContaining('the old ones stay'),
  });
  expect([...filesOf(made)]).toEqual(expect.arrayContaining(before));
  await expectHistory(await reopen(made.path), HISTORY.slice(0, 2));
});

test('packStore packs attachments that are larger than any cluster', async () => {
  const made = await newStore();
  const attachment = made.file('nvram.bin');
  writeFileSync(attachment, noise(3 * 2 ** 20, 5));
  await commitBytes(made, 'web', disk(HISTORY[0]!));
  const path = made.file('web.raw');
  await commitVersion(made.store, {
    disks: [{ name: 'vda', path }],
    branch: 'web',
    attachments: [{ name: 'nvram.bin', path: attachment }],
  });
  await packStore(made.store);
  await gitFsck(made.path);
  const blob = await git(made.path, 'rev-parse', 'web:files/nvram.bin');
  expect(Buffer.from(made.store.objects.read(blob).data).equals(noise(3 * 2 ** 20, 5))).toBe(true);
});

test('packStore takes no attachment for a base that is larger than what it looks for bases for', async () => {
  const made = await newStore();
  const bytes = noise(3 * 2 ** 20, 5);
  const attachments = [{ name: 'nvram.bin', path: made.file('nvram.bin') }];
  writeFileSync(attachments[0]!.path, bytes);
  await commitBytes(made, 'web', disk(HISTORY[0]!), { attachments });
  await packStore(made.store);
  writeFileSync(attachments[0]!.path, bytes.subarray(0, 2 ** 19));
  await commitBytes(made, 'web', disk(HISTORY[5]!), { attachments });
  const deltify = vi.spyOn(ClusterWorkers.prototype, 'deltify');
  onTestFinished(() => deltify.mockRestore());
  await packStore(made.store);
  const sizes = deltify.mock.calls.flatMap(([{ targets }]) =>
    targets.flatMap(({ candidates }) => candidates.map(({ size }) => size)),
  );
  expect(sizes.length).toBeGreaterThan(5);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(2 * 2 ** 20);
  await gitFsck(made.path);
});
