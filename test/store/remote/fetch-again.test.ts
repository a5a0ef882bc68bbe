import { beforeEach, expect, test } from 'vitest';
import { openS3 } from '../../../remote/index.ts';
import { addRemote, fetchRemote } from '../../../store/index.ts';
import type { FakeS3 } from '../../remote/fake-s3.ts';
import { diskOf } from '../disks.ts';
import { commitBytes, newStore, reopen } from '../new-store.ts';
import { pushAll } from './bucket/ways.ts';
import { breakOffPack, fakeServer } from './fake-server.ts';

let fake: FakeS3;
beforeEach(async () => {
  fake = await fakeServer();
});

test.each([
  [2_500_000, true],
  [100_000, false],
])('fetchRemote that fails after %d bytes says whether what has come is kept: %s', async (bytes, isSaid) => {
  const from = await newStore();
  const { commit } = await commitBytes(from, 'web', diskOf(Array.from({ length: 900 }, (_, i) => i + 1)));
  const bucket = await openS3(fake.options('p'));
  await pushAll(from, bucket);
  await bucket.close();

  const to = await newStore();
  await addRemote(to.store, 'origin', 's3://bucket/p', { endpoint: fake.endpoint, region: 'us-east-1' });
  const store = await reopen(to.path);
  breakOffPack(fake, bytes);
  const error = await fetchRemote(store).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'REMOTE_DENIED' });
  const { message } = error as Error;
  expect(message.split(': what has come is kept: run the same command again to go on')).toHaveLength(
    isSaid ? 2 : 1,
  );
  fake.faultOf = () => undefined;
  await fetchRemote(store);
  expect(await store.refs.resolve('refs/remotes/origin/web')).toBe(commit);
});
