import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { chmod, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import {
  BRANCHES,
  type CheckoutRequest,
  checkoutVersion,
  commitVersion,
  compare,
  deleteRef,
  describeDisk,
} from '../../../store/index.ts';
import { TYPE_ORIGIN } from '../../../store/origin/extension.ts';
import { createOverlay, qemuBytes, qemuCheck, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, SMALL, type TestStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';

const OLD = diskOf([1, 2, 3, 0, 5, 6]);
const NEW = diskOf([1, 9, 3, 4, 0, 6]);

interface Overlay extends TestStore {
  readonly overlay: string;
  readonly base: string;
  /** The version that the base file holds. */
  readonly held: string;
}

/** An overlay of the second version on a file of the first one. */
async function overlayOn(
  kind: 'chain' | 'file',
  request: Partial<CheckoutRequest> = {},
  prepare: (made: TestStore) => void = () => {},
): Promise<Overlay> {
  const made = await newStore();
  prepare(made);
  await commitBytes(made, 'web', OLD);
  const held = await git(made.path, 'rev-parse', 'web');
  await commitBytes(made, 'web', NEW);
  mkdirSync(made.file('vm'));
  const overlay = made.file('vm/top.qcow2');
  if (kind === 'file')
    await checkoutVersion(made.store, { revision: 'web~1', output: made.file('vm/base.qcow2') });
  const backing = kind === 'chain' ? kind : { file: made.file('vm/base.qcow2') };
  const result = await checkoutVersion(made.store, { revision: 'web', output: overlay, backing, ...request });
  const base = made.file(`vm/${result.backing}`);
  await chmod(base, 0o644);
  return { ...made, overlay, base, held };
}

function commit({ store, overlay }: Overlay, options: { storedBase?: string; branch?: string } = {}) {
  return commitVersion(store, { disks: [{ name: 'vda', path: overlay }], branch: 'vm', ...options });
}

describe.each(['chain', 'file'] as const)('an overlay (%s) whose backing file is gone', (kind) => {
  test('commitVersion reads it on the version that the file held, which becomes the parent', async () => {
    const place = await overlayOn(kind);
    await qemuIo(place.overlay, 'write -P 7 5k 2k', 'discard 8k 4k', 'write -z 20k 4k');
    const expected = await qemuBytes(place.overlay);
    rmSync(place.base);
    const notices: string[] = [];
    const request = { disks: [{ name: 'vda', path: place.overlay }], branch: 'vm' };
    const result = await commitVersion(place.store, request, { onNotice: (text) => notices.push(text) });
    expect(result.parents).toEqual([place.held]);
    expect((await readBack(place.store, 'vm')).equals(expected)).toBe(true);
    expect(notices.join()).toContain(`is gone: read on disk vda of version ${place.held.slice(0, 12)}`);
    expect(await compare(place.store, { revision: 'vm', other: place.overlay })).toMatchObject({
      identical: true,
    });
    // Known from now on, and read again when it has changed.
    expect((await commit(place)).unchanged).toBe(true);
  });

  test('commitVersion reads it as usual when the file is there, also a changed one', async () => {
    const place = await overlayOn(kind);
    await qemuIo(place.base, 'write -P 8 0 4k');
    const expected = await qemuBytes(place.overlay);
    await commit(place);
    expect((await readBack(place.store, 'vm')).equals(expected)).toBe(true);
  });
});

test('commitVersion reads only what an overlay on a stored version holds by itself', async () => {
  const place = await overlayOn('file', { revision: 'web~1' });
  await qemuIo(place.overlay, 'write -P 7 5k 1k');
  rmSync(place.base);
  const { disks } = await commit(place);
  // The cluster that was written to, and the one that every overlay has an entry for.
  expect(disks[0]).toMatchObject({ clusters: 5, newClusters: 1, readBytes: 2 * SMALL });
});

test.each([
  ['of another size', ['resize', '-q', 'IMAGE', '+1M']],
  ['shrunk', ['resize', '-q', '--shrink', 'IMAGE', '9k']],
  ['with the snapshot gone that it had', ['snapshot', '-c', 's', 'IMAGE'], ['snapshot', '-d', 's', 'IMAGE']],
])('commitVersion reads an overlay %s on the stored version', async (_, ...commands: string[][]) => {
  const place = await overlayOn('file');
  for (const command of commands)
    await qemuImg(...command.map((word) => (word === 'IMAGE' ? place.overlay : word)));
  const expected = await qemuBytes(place.overlay);
  rmSync(place.base);
  await commit(place);
  expect((await readBack(place.store, 'vm')).equals(expected)).toBe(true);
});

test('commitVersion reads an overlay on another one that stands on a stored version', async () => {
  const place = await overlayOn('file');
  const top = place.file('vm/above.qcow2');
  await createOverlay(top, 'top.qcow2');
  await qemuIo(top, 'write -P 3 0 1k');
  const expected = await qemuBytes(top);
  rmSync(place.base);
  await commit({ ...place, overlay: top });
  expect((await readBack(place.store, 'vm')).equals(expected)).toBe(true);
});

test('an overlay that holds no change has an entry all the same, so that it shows when it was emptied', async () => {
  const place = await overlayOn('file', { revision: 'web~1' });
  await qemuIo(place.overlay, 'write -P 7 8k 4k');
  const expected = await qemuBytes(place.overlay);
  copyFileSync(place.overlay, place.file('kept.qcow2'));
  await qemuImg('snapshot', '-c', 's', place.overlay);
  await qemuImg('commit', '-q', place.overlay);
  await qemuImg('snapshot', '-d', 's', place.overlay);
  rmSync(place.base);
  await expect(commit(place)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  renameSync(place.file('kept.qcow2'), place.overlay);
  await commit(place);
  expect((await readBack(place.store, 'vm')).equals(expected)).toBe(true);
});

/** What was done to an overlay or its surroundings, after which its header's word counts no more. */
const DOUBTS: [string, string, (place: Overlay) => unknown][] = [
  [
    'rebased onto a file of other content that then got the old name',
    'written anew',
    async (place) => {
      const other = place.file('vm/other.qcow2');
      await checkoutVersion(place.store, { revision: 'web', output: other });
      await qemuIo(other, 'write -P 5 0 4k');
      await qemuImg('rebase', '-b', 'other.qcow2', '-F', 'qcow2', place.overlay);
      renameSync(other, place.base);
      await qemuImg('rebase', '-u', '-b', basename(place.base), '-F', 'qcow2', place.overlay);
    },
  ],
  [
    'rebased as version 2',
    'written anew',
    async (place) => {
      await qemuImg('amend', '-o', 'compat=0.10', place.overlay);
      await qemuImg('rebase', '-u', '-b', basename(place.base), '-F', 'qcow2', place.overlay);
    },
  ],
  [
    'renamed backing',
    'another backing file',
    (place) => qemuImg('rebase', '-u', '-b', 'nothing.qcow2', '-F', 'qcow2', place.overlay),
  ],
  [
    'an amended header',
    'written anew',
    (place) => qemuImg('amend', '-o', 'lazy_refcounts=on', place.overlay),
  ],
  ['a bitmap added', 'written anew', (place) => qemuImg('bitmap', '--add', place.overlay, 'b')],
  ['committed into the file', 'since', (place) => qemuImg('commit', '-q', place.overlay)],
  [
    'written to and committed into the file',
    'since',
    (place) => qemuIo(place.overlay, 'write -P 4 0 4k').then(() => qemuImg('commit', '-q', place.overlay)),
  ],
  [
    'an internal snapshot',
    'has internal snapshots',
    (place) => qemuImg('snapshot', '-c', 's', place.overlay),
  ],
  [
    'committed into the file with a snapshot there, which then went',
    'moved into that file',
    async (place) => {
      await qemuImg('snapshot', '-c', 's', place.overlay);
      await qemuImg('commit', '-q', place.overlay);
      await qemuImg('snapshot', '-d', 's', place.overlay);
    },
  ],
  ['the commit id altered', 'did not write that', (place) => patch(place.overlay, (at) => at + 64)],
  ['the seal altered', 'did not write that', (place) => patch(place.overlay, (at) => at + 100)],
  ['the key of the store gone', 'did not write that', (place) => rm(`${place.path}/imgstore/key`)],
  [
    'another key in the store',
    'did not write that',
    (place) => writeFileSync(`${place.path}/imgstore/key`, Buffer.alloc(32, 7)),
  ],
  [
    'a key that was cut short',
    'did not write that',
    (place) => writeFileSync(`${place.path}/imgstore/key`, Buffer.alloc(31, 7)),
  ],
  [
    'a version that no ref leads to',
    'no branch and no tag',
    async (place) => deleteRef(place.store, BRANCHES, 'web'),
  ],
];

/** Where the extension's data begins in a header. */
function originAt(bytes: Buffer): number {
  const magic = Buffer.alloc(4);
  magic.writeUInt32BE(TYPE_ORIGIN);
  return bytes.indexOf(magic) + 8;
}

/** Flips a bit of a header. */
function patch(image: string, at: (origin: number) => number): void {
  const bytes = readFileSync(image);
  const place = at(originAt(bytes));
  bytes[place]! ^= 1;
  writeFileSync(image, bytes);
}

test.each(DOUBTS)('commitVersion does not believe an overlay with %s', async (_, why, change) => {
  const place = await overlayOn('file');
  await change(place);
  await rm(place.base, { force: true });
  await expect(commit(place)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining(why),
  });
});

describe('extensions that are not what they should be', () => {
  /** Puts bytes in the place of the extension's data, of the same padded length. */
  function replaceData(image: string, alter: (data: Buffer) => void, length?: number): void {
    const bytes = readFileSync(image);
    const at = originAt(bytes);
    const before = bytes.readUInt32BE(at - 4);
    alter(bytes.subarray(at, at + before));
    if (length !== undefined) bytes.writeUInt32BE(length, at - 4);
    writeFileSync(image, bytes);
  }

  test.each([
    ['another layout', (data: Buffer) => void data.writeUInt32BE(2)],
    ['a name longer than the rest', (data: Buffer) => void data.writeUInt16BE(0xffff, 128)],
    ['names that end early', (data: Buffer) => void data.writeUInt16BE(1, 128)],
    ['a disk that cannot be named so', (data: Buffer) => void data.write('../', 130)],
  ])('commitVersion takes %s for no extension', async (_, alter) => {
    const place = await overlayOn('file');
    replaceData(place.overlay, alter);
    rmSync(place.base);
    const failure = await commit(place).catch((error: Error) => error);
    expect(failure).toMatchObject({ code: 'NOT_FOUND' });
    expect((failure as Error).message).not.toContain('version');
    expect((await describeDisk(place.overlay)).origin).toBeUndefined();
  });

  test('a length that leaves the header is refused as any extension of that kind, and one cut short is none', async () => {
    const place = await overlayOn('file');
    const whole = readFileSync(place.overlay);
    replaceData(place.overlay, () => {}, 0xffffffff);
    await expect(describeDisk(place.overlay)).rejects.toMatchObject({ code: 'BAD_IMAGE' });
    // The rest of the data is then taken for more extensions of no known kind, or leaves the area.
    writeFileSync(place.overlay, whole);
    replaceData(place.overlay, () => {}, 16);
    const facts = await describeDisk(place.overlay).catch((error: Error) => error);
    expect(facts instanceof Error ? (facts as Error & { code: string }).code : facts.origin).toBeOneOf([
      'BAD_IMAGE',
      undefined,
    ]);
  });

  test('an image from a stranger gets nothing of the store by naming a version', async () => {
    const [own, other] = [await overlayOn('file'), await newStore()];
    await commitBytes(other, 'secret', OLD);
    const secret = await git(other.path, 'rev-parse', 'secret');
    const image = other.file('stranger.qcow2');
    copyFileSync(own.overlay, image);
    patchCommit(image, secret);
    await expect(commitVersion(other.store, { disks: [{ name: 'vda', path: image }] })).rejects.toMatchObject(
      { code: 'NOT_FOUND', message: expect.stringContaining('this store did not write that') },
    );
    await expect(git(other.path, 'rev-parse', '-q', '--verify', 'refs/heads/stranger')).rejects.toThrow();
  });

  function patchCommit(image: string, commitId: string): void {
    const bytes = readFileSync(image);
    bytes.write(commitId, originAt(bytes) + 64, 'hex');
    writeFileSync(image, bytes);
  }
});

describe('--stored-base', () => {
  test('commitVersion reads an overlay on the version that the user names', async () => {
    const place = await overlayOn('file');
    await qemuImg('amend', '-o', 'lazy_refcounts=on', place.overlay);
    const expected = await qemuBytes(place.overlay);
    rmSync(place.base);
    expect((await commit(place, { storedBase: 'web~1' })).parents).toEqual([place.held]);
    expect((await readBack(place.store, 'vm')).equals(expected)).toBe(true);
    const same = { revision: 'vm', other: place.overlay, storedBase: 'web~1' };
    expect(await compare(place.store, same)).toMatchObject({ identical: true });
  });

  test('commitVersion takes what the user names anew each time, also of a file that has not changed since', async () => {
    const place = await overlayOn('chain');
    const [lower, upper] = [place.file('vm/lower.qcow2'), place.file('vm/upper.qcow2')];
    const create = ['create', '-q', '-u', '-f', 'qcow2', '-F', 'qcow2'];
    await qemuImg(...create, '-b', 'gone.qcow2', lower, String(OLD.length));
    await qemuImg(...create, '-b', 'lower.qcow2', upper, String(OLD.length));
    for (const overlay of [lower, upper]) {
      const bytes: Buffer[] = [];
      for (const [i, storedBase] of ['web', 'web~1', 'web'].entries()) {
        // Past the tick of the clock in which it was written.
        await sleep(30);
        await commit({ ...place, overlay }, { storedBase, branch: `vm${i}` });
        bytes.push(await readBack(place.store, `vm${i}`));
        await deleteRef(place.store, BRANCHES, `vm${i}`);
      }
      expect(bytes[0]!.equals(bytes[1]!)).toBe(false);
      expect(bytes[0]!.equals(bytes[2]!)).toBe(true);
    }
  });

  test('commitVersion throws USAGE when the file is there, and NOT_FOUND for no version', async () => {
    const place = await overlayOn('file');
    await expect(commit(place, { storedBase: 'web~1' })).rejects.toMatchObject({ code: 'USAGE' });
    rmSync(place.base);
    await expect(commit(place, { storedBase: 'nothing' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('the extension in a header', () => {
  test.each([
    ['amend', ['amend', '-o', 'lazy_refcounts=on', 'IMAGE']],
    ['rebase', ['rebase', '-u', '-b', 'other.qcow2', '-F', 'qcow2', 'IMAGE']],
    ['resize', ['resize', '-q', 'IMAGE', '+1G']],
    ['snapshot', ['snapshot', '-c', 's', 'IMAGE']],
    ['bitmap', ['bitmap', '--add', 'IMAGE', 'b']],
    ['commit', ['commit', '-q', 'IMAGE']],
  ])('is kept by qemu-img %s', async (_, command) => {
    const place = await overlayOn('file');
    const before = await describeDisk(place.overlay);
    expect(before.origin).toEqual({
      commit: await git(place.path, 'rev-parse', 'web'),
      disk: 'vda',
      base: { commit: place.held, disk: 'vda', file: 'base.qcow2' },
    });
    await qemuImg(...command.map((word) => (word === 'IMAGE' ? place.overlay : word)));
    expect((await describeDisk(place.overlay)).origin).toEqual(before.origin);
    if (command[0] !== 'rebase') await qemuCheck(place.overlay);
  });

  test('is in every kind of qcow2 that checkoutVersion writes', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', OLD);
    await commitBytes(made, 'web', NEW);
    const origin = { commit: await git(made.path, 'rev-parse', 'web'), disk: 'vda' };
    const kinds: Partial<CheckoutRequest>[] = [{}, { compress: 'zlib' }, { compress: 'zstd' }];
    for (const [i, kind] of kinds.entries()) {
      const output = made.file(`${i}.qcow2`);
      await checkoutVersion(made.store, { revision: 'web', output, ...kind });
      expect((await describeDisk(output)).origin).toMatchObject(origin);
      await qemuCheck(output);
    }
    const stranger = made.file('unknown.raw');
    writeFileSync(stranger, OLD.subarray(SMALL));
    const output = made.file('on-unknown.qcow2');
    await checkoutVersion(made.store, { revision: 'web', output, backing: { file: stranger } });
    expect((await describeDisk(output)).origin).toEqual({ ...origin, base: undefined });
  });

  test('is not sealed without the right to make a key', async () => {
    const place = await overlayOn('file', {}, ({ path }) => mkdirSync(`${path}/imgstore/key`));
    rmSync(place.base);
    rmSync(`${place.path}/imgstore/key`, { recursive: true });
    await expect(commit(place)).rejects.toMatchObject({
      message: expect.stringContaining('did not write that'),
    });
    expect(existsSync(`${place.path}/imgstore/key`)).toBe(false);
  });

  test('is sealed with a key that is for its owner only', async () => {
    const place = await overlayOn('file');
    expect(statSync(`${place.path}/imgstore/key`).mode & 0o777).toBe(0o600);
  });
});

test('commitVersion begins a new branch of an overlay at the version that its base was checked out from, also when both were moved', async () => {
  const place = await overlayOn('chain');
  renameSync(place.file('vm'), place.file('moved'));
  const overlay = place.file('moved/top.qcow2');
  await qemuIo(overlay, 'write -P 7 5k 2k');
  const made = await commit({ ...place, overlay });
  expect(made).toMatchObject({ parents: [place.held], unchanged: false });
  expect((await readBack(place.store, 'vm')).equals(await qemuBytes(overlay))).toBe(true);
});

test('commitVersion begins a history of its own for an overlay that names a base by no seal of this store', async () => {
  const place = await overlayOn('chain');
  const other = await newStore();
  await qemuIo(place.overlay, 'write -P 7 5k 2k');
  expect(await commit({ ...place, store: other.store })).toMatchObject({ parents: [] });
});
