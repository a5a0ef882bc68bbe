import { existsSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { ImgstoreError } from '../../../../errors/index.ts';
import { DiskSource } from '../../../../store/index.ts';
import { Sessions } from '../../../../store/serve/session/sessions.ts';
import { noise } from '../../../qcow2/qemu.ts';
import { git } from '../../git.ts';
import { commitBytes, newStore, reopen, SMALL } from '../../new-store.ts';
import { sessionPlace } from './places.ts';

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
  await expect(sessions.export('web')).rejects.toMatchObject({ code: 'IO' });
  expect(existsSync(overlay)).toBe(false);
  expect((await refs()).trim()).toBe('');
  isFull = false;
  await (await sessions.export('web'))!.release();
  expect((await refs()).trim().split('\n')).toEqual([
    'refs/imgstore/sessions/web/base',
    'refs/imgstore/sessions/web/last',
  ]);
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
