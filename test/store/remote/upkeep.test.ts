import { expect, test } from 'vitest';
import { collectRemote, verifyRemote } from '../../../store/index.ts';
import { bareRepository, storeWithRemote } from './places.ts';

test('verifyRemote and collectRemote say what looks after a remote that is no bucket', async () => {
  const url = await bareRepository();
  const { store } = await storeWithRemote(url);
  await expect(verifyRemote(store, {})).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: `${url}: is no S3 remote: look there: 'imgstore fsck' in a store, 'git fsck' in another repository`,
  });
  await expect(collectRemote(store, 'origin')).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: `${url}: is no S3 remote: do it there: 'imgstore gc' in a store, 'git gc' in another repository`,
  });
});
