import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openS3 } from '../../../remote/index.ts';
import { addRemote, fetchRemote } from '../../../store/index.ts';
import { FakeS3 } from '../../remote/fake-s3.ts';
import { diskOf } from '../disks.ts';
import { commitBytes, newStore, reopen } from '../new-store.ts';
import { pushAll } from './bucket/ways.ts';

let fake: FakeS3;
beforeEach(async () => {
  fake = await FakeS3.start();
  vi.stubEnv('AWS_ACCESS_KEY_ID', fake.keys.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', fake.keys.secretAccessKey);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await fake.close();
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
  let isBroken = false;
  fake.faultOf = ({ key, method }) => {
    if (isBroken) return { kind: 'status', status: 403, code: 'AccessDenied' };
    if (method !== 'GET' || !key?.endsWith('.pack') || fake.objects.get(key)!.bytes.length < bytes)
      return undefined;
    isBroken = true;
    return { kind: 'end-within', bytes };
  };
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
