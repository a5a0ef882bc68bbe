import { readdirSync, statSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { NULL_ID } from '../../../../objects/index.ts';
import { bucketRemote } from '../../../../store/remote/bucket/bucket-remote.ts';
import { BucketPlace } from '../../../../store/remote/bucket/place.ts';
import { BucketTransport } from '../../../../store/remote/bucket/transport.ts';
import { MemoryBucket } from '../../../remote/memory-bucket.ts';
import { diskOf } from '../../disks.ts';
import { git } from '../../git.ts';
import { commitBytes, newStore, reopen } from '../../new-store.ts';

test('folders of a remote may be written to by all who share the store', async () => {
  const { path } = await newStore();
  await git(path, 'config', 'core.sharedRepository', 'group');
  const store = await reopen(path);
  await commitBytes({ store, path, file: (name) => `${path}/../${name}` }, 'web', diskOf([1, 2, 3]));
  const transport = new BucketTransport(store, new MemoryBucket(), 'origin');
  onTestFinished(() => transport.close());
  await transport.refs();
  const name = 'refs/heads/web';
  await transport.push([{ name, before: NULL_ID, after: (await store.refs.resolve(name))! }]);
  const { indexes, checkpoints, outgoing } = new BucketPlace(store, 'origin');
  for (const folder of [indexes, checkpoints, outgoing]) expect(statSync(folder).mode & 0o070).toBe(0o070);
});

test('of checkpoints only the last is kept', async () => {
  const { store } = await newStore();
  const bucket = new MemoryBucket();
  const { states, place } = bucketRemote(store, bucket, 'origin');
  for (let i = 1; i <= 120; i++) {
    const refs = [{ name: `refs/heads/b${i}`, id: String(i).padStart(64, '0') }];
    await states.publish(await states.newest(), { refs, added: [], buried: [], gone: [] });
  }
  const { state } = await states.newest();
  expect([...bucket.objects.keys()].filter((name) => name.startsWith('checkpoints/')).length).toBeGreaterThan(
    1,
  );
  expect(readdirSync(place.checkpoints)).toEqual([state.checkpoint]);
});
