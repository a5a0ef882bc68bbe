import { appendFileSync, existsSync, readdirSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { expect, onTestFinished, test } from 'vitest';
import { isImgstoreError } from '../../../errors/index.ts';
import { watchPoints } from '../../../files/index.ts';
import { type CommitRequest, commitVersion, type Monitor } from '../../../store/index.ts';
import { noise } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { gitFsck } from '../git.ts';
import { commitBytes, listFiles, newStore, reopen, SMALL } from '../new-store.ts';
import { diskBytes } from './disk-bytes.ts';

/** Enough for a few batches, so that something is written while more is read. */
const SIZE = 9 * 2 ** 20;

/** A store with a version, and a disk of noise that is to be the next one; few objects go into a pack. */
async function prepared() {
  const made = await newStore(65536, { unpackLimit: 16 });
  await commitBytes(made, 'web', diskOf([1, 2], SMALL));
  const image = made.file('next.raw');
  await writeFile(image, noise(SIZE, 7));
  const request: CommitRequest = { disks: [{ name: 'vda', path: image }], branch: 'web' };
  const commit = (monitor?: Monitor, change: Partial<CommitRequest> = {}) =>
    commitVersion(made.store, { ...request, ...change }, monitor);
  return { ...made, image, commit, files: listFiles(made.path) };
}

/** Does something once, when the commit has read its first batch. */
function once(work: () => void): Monitor {
  let done = false;
  return {
    onProgress: () => {
      if (!done) work();
      done = true;
    },
  };
}

test.each<[string, (image: string) => void]>([
  ['written to', (image) => appendFileSync(image, 'more')],
  ['written to within', (image) => writeFileSync(image, 'x', { flag: 'r+' })],
  ['touched', (image) => utimesSync(image, new Date(), new Date())],
  ['cut short', (image) => truncateSync(image, 65536)],
])(
  'commitVersion throws IN_USE and changes nothing when the image is %s while it is read',
  async (_, change) => {
    const { commit, path, image, files, store } = await prepared();
    await expect(commit(once(() => change(image)))).rejects.toMatchObject({
      code: 'IN_USE',
      message: expect.stringContaining(image),
    });
    expect(listFiles(path)).toEqual(files);
    expect((await diskBytes(store, 'web')).equals(diskOf([1, 2], SMALL))).toBe(true);
    await gitFsck(path);
  },
);

test('commitVersion stores an image that changes while it is read when that is asked for', async () => {
  const { commit, image, path } = await prepared();
  const result = await commit(
    once(() => utimesSync(image, new Date(0), new Date(0))),
    { forceShare: true },
  );
  expect(result.unchanged).toBe(false);
  await gitFsck(path);
});

test('commitVersion stops without a trace when it is told to', async () => {
  const { commit, path, files } = await prepared();
  const stop = new AbortController();
  const monitor = { ...once(() => stop.abort()), signal: stop.signal };
  await expect(commit(monitor)).rejects.toMatchObject({ code: 'INTERRUPTED' });
  expect(listFiles(path)).toEqual(files);
});

test('commitVersion tells how far it is, up to the end', async () => {
  const { commit } = await prepared();
  const seen: number[] = [];
  await commit({ onProgress: ({ done, total }) => seen.push(done / total) });
  expect(seen.length).toBeGreaterThan(1);
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  expect(seen.at(-1)).toBe(1);
});

/** Fails at the n-th pass of a point; the returned function takes the fault out and says whether it came to that. */
function failAt(point: string, n: number): () => boolean {
  let left = n;
  const stop = watchPoints((at) => {
    if (at === point && --left === 0) throw Object.assign(new Error('input/output error'), { code: 'EIO' });
  });
  return () => {
    stop();
    return left <= 0;
  };
}

test.each([
  ['loose objects', 'loose', 512],
  ['a pack', 'pack', 2],
])('commitVersion of %s leaves a whole store wherever its writing fails', async (_, kind, unpackLimit) => {
  const made = await newStore(SMALL, { unpackLimit });
  let tip = (await commitBytes(made, 'web', diskOf([1]))).commit;
  const points = new Set<string>();
  const stopListing = watchPoints((point) => points.add(point));
  tip = (await commitBytes(made, 'web', diskOf([1, 2]))).commit;
  stopListing();
  for (const action of ['create', 'write', 'fsync', 'rename', 'fsync-folder'])
    expect(points).toContain(`${kind}.${action}`);
  for (const point of [
    'reflog.write',
    'ref.create',
    'ref.write',
    'ref.fsync',
    'ref.rename',
    'ref.fsync-folder',
  ])
    expect(points).toContain(point);
  let seed = 10;
  for (const point of points) {
    for (const pass of [1, 2]) {
      const stop = failAt(point, pass);
      const failure = await commitBytes(made, 'web', diskOf([1, 2, seed++])).catch((error: unknown) => error);
      const failed = stop();
      expect(isImgstoreError(failure, 'IO'), point).toBe(failed);
      const now = (await (await reopen(made.path)).refs.resolve('refs/heads/web'))!;
      // Behind the renaming of the branch only its folder's fsync can fail: the version is there then.
      if (failed && point !== 'ref.fsync-folder') expect(now, point).toBe(tip);
      tip = now;
      const left = listFiles(made.path).filter((name) => /tmp_|\.lock$/.test(name));
      expect(left, point).toEqual([]);
    }
  }
  await gitFsck(made.path);
  const last = diskOf([1, 2, 3]);
  await commitBytes(made, 'web', last);
  expect((await diskBytes(await reopen(made.path), 'web')).equals(last)).toBe(true);
});

test('commitVersion gives back every file handle, also when it fails', async () => {
  if (!existsSync('/proc/self/fd')) return;
  const { commit, image, store } = await prepared();
  const open = () => readdirSync('/proc/self/fd').length;
  store.close();
  const before = open();
  await expect(commit(once(() => appendFileSync(image, 'x')))).rejects.toMatchObject({ code: 'IN_USE' });
  onTestFinished(() => store.close());
  store.close();
  expect(open()).toBe(before);
});
