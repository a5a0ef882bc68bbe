import { existsSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { ImgstoreError } from '../../../../errors/index.ts';
import { BRANCHES, collectGarbage, DiskSource, deleteRef, resolveCommit } from '../../../../store/index.ts';
import { Sessions } from '../../../../store/serve/session/sessions.ts';
import { noise } from '../../../qcow2/qemu.ts';
import { git } from '../../git.ts';
import { commitBytes, newStore, reopen, SMALL } from '../../new-store.ts';
import { bytesOf, sessionPlace } from './places.ts';

test('Sessions.export leaves no refs when the overlay cannot be made, and works when it can', async () => {
  const { store, path, overlay, again } = await sessionPlace(noise(20_000, 1));
  let isFull = true;
  const sessions = await again({
    openBase: (disk) => {
      const source = new DiskSource(store.objects, disk);
      const read = source.read.bind(source);
      source.read = async (offset, into) => {
        if (isFull) throw new ImgstoreError('IO', 'no space left on the device');
        return read(offset, into);
      };
      return source;
    },
  });
  const refs = async () => git(path, 'for-each-ref', '--format=%(refname)', 'refs/imgstore/sessions');
  const web = (await sessions.export('web'))!;
  await expect(web.write!(0, Buffer.alloc(1))).rejects.toMatchObject({ code: 'IO' });
  expect(existsSync(overlay)).toBe(false);
  expect(await refs()).toBe('');
  isFull = false;
  await web.write!(0, Buffer.alloc(1));
  await web.release();
  expect((await refs()).split('\n')).toEqual([
    'refs/imgstore/sessions/web/base',
    'refs/imgstore/sessions/web/last',
  ]);
});

test('Sessions.export makes nothing for clients that only read, until one of them changes something', async () => {
  const bytes = noise(20_000, 1);
  const zeros = { mayPunch: true, fast: false };
  for (const change of ['write', 'zero', 'trim'] as const) {
    const { sessions, path, overlay } = await sessionPlace(bytes);
    const refs = async () => git(path, 'for-each-ref', '--format=%(refname)', 'refs/imgstore/sessions');
    const [one, two] = [(await sessions.export('web'))!, (await sessions.export('web'))!];
    expect((await bytesOf(one)).equals(bytes)).toBe(true);
    const kinds = [];
    for await (const { kind } of one.extents(0, one.size)) kinds.push(kind);
    expect(kinds).toEqual(['data']);
    await one.flush!();
    expect([existsSync(overlay), await refs(), await sessions.list()]).toEqual([false, '', []]);
    await expect(sessions.commit('web')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(sessions.discard('web')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    if (change === 'write') await Promise.all([0, 1].map((at) => one.write!(at, Buffer.alloc(1))));
    else await one[change]!(0, 2, zeros);
    const model = Buffer.from(bytes).fill(0, 0, 2);
    expect((await bytesOf(two)).equals(model)).toBe(true);
    expect(existsSync(overlay)).toBe(true);
    expect(await sessions.list()).toMatchObject([{ name: 'web', connections: 2, changedBytes: SMALL }]);
    await one.release();
    const three = (await sessions.export('web'))!;
    expect((await bytesOf(three)).equals(model)).toBe(true);
    await two.release();
    await three.release();
    expect(await sessions.list()).toMatchObject([{ connections: 0 }]);
  }
});

test("Sessions.export shows all who have a branch open one version, and the branch's last when they have gone", async () => {
  const [old, now] = [noise(20_000, 1), noise(20_000, 2)];
  const place = await sessionPlace(old);
  const { sessions, store } = place;
  const one = (await sessions.export('web'))!;
  await commitBytes(place, 'web', now);
  const two = (await sessions.export('web'))!;
  expect((await bytesOf(two)).equals(old)).toBe(true);
  await two.release();
  // No ref leads to what is read.
  await commitBytes(place, 'other', noise(5000, 3));
  await deleteRef(store, BRANCHES, 'web');
  await collectGarbage(store, { prune: 'now' });
  expect((await bytesOf(one)).equals(old)).toBe(true);
  await one.write!(0, Buffer.alloc(1));
  await collectGarbage(store, { prune: 'now' });
  expect((await bytesOf(one)).subarray(1).equals(old.subarray(1))).toBe(true);
  await one.release();
  await sessions.discard('web');
  await commitBytes(place, 'web', now);
  await (await sessions.export('web'))!.release();
  expect((await bytesOf((await sessions.export('web'))!)).equals(now)).toBe(true);
  await collectGarbage(store, { prune: 'now' });
});

test('Sessions.export fails the first write when another server has begun the session, and touches nothing of that', async () => {
  const place = await sessionPlace(noise(20_000, 1));
  const { sessions, store, path, again } = place;
  const web = (await sessions.export('web'))!;
  await commitBytes(place, 'web', noise(20_000, 2));
  const others = await again();
  const other = (await others.export('web'))!;
  await other.write!(0, Buffer.alloc(1, 9));
  const { commit } = await others.commit('web');
  await expect(web.write!(0, Buffer.alloc(1))).rejects.toMatchObject({
    code: 'IN_USE',
    message: expect.stringMatching(
      /web\.qcow2: another server has begun session 'web' meanwhile: connect again$/,
    ),
  });
  expect(await git(path, 'rev-parse', 'refs/imgstore/sessions/web/last')).toBe(commit);
  await web.release();
  await other.release();
  await others.close();
  const next = (await sessions.export('web'))!;
  expect((await bytesOf(next))[0]).toBe(9);
  expect(await resolveCommit(store, 'web')).toBe(commit);
});

test('Sessions.list finds none, and makes no folder, in a store that had no session', async () => {
  const { store, path } = await newStore();
  const sessions = await Sessions.open(store, { address: undefined });
  expect(await sessions.list()).toEqual([]);
  await expect(sessions.commit('web')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await sessions.close();
  expect(existsSync(`${path}/imgstore/sessions`)).toBe(false);
});

test('Sessions.export gives none of a version with clusters of another size, which is served for reading', async () => {
  const made = await newStore(4 * SMALL);
  await commitBytes(made, 'web', noise(40_000, 1));
  await git(made.path, 'config', 'imgstore.clusterSize', String(SMALL));
  const store = await reopen(made.path);
  const sessions = await Sessions.open(store, { address: { path: made.file('nbd.sock') } });
  onTestFinished(() => sessions.close());
  expect(await sessions.export('web')).toBeUndefined();
});
