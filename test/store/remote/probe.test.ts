import { expect, onTestFinished, test } from 'vitest';
import { openS3 } from '../../../remote/index.ts';
import { probeRemote } from '../../../store/remote/probe.ts';
import type { Remote } from '../../../store/remote/remote.ts';
import { newStore } from '../new-store.ts';
import { fakeServer } from './fake-server.ts';

/** A server, and a remote that is a prefix of its bucket. */
async function begin(url = 's3://bucket/vms') {
  const fake = await fakeServer();
  const { store } = await newStore();
  return { fake, store, remote: { name: 'origin', url, endpoint: fake.endpoint, pathStyle: true } as Remote };
}

test('probeRemote says once that a bucket is not there', async () => {
  const { store, remote } = await begin('s3://nosuch/vms');
  await expect(probeRemote(store, remote)).rejects.toMatchObject({
    code: 'REMOTE_FAILED',
    message: expect.stringMatching(
      /^s3:\/\/nosuch\/vms: GET imgstore\.json: 404 NoSuchBucket[^;]*make the bucket[^;]*$/,
    ),
  });
});

test('probeRemote refuses a prefix in which other things are, and puts nothing there', async () => {
  const { fake, store, remote } = await begin();
  const bucket = await openS3(fake.options('vms'));
  onTestFinished(() => bucket.close());
  await bucket.put('config', Buffer.from('of restic'));
  fake.forget();
  await expect(probeRemote(store, remote)).rejects.toMatchObject({
    code: 'REMOTE_FAILED',
    message: 's3://bucket/vms: is not empty (config) and no remote of imgstore: choose another prefix',
  });
  expect(fake.requests.filter(({ method }) => method !== 'GET')).toEqual([]);
});

test('probeRemote says to a key that may only read how the remote is added', async () => {
  const { fake, store, remote } = await begin();
  fake.faultOf = ({ method }) =>
    method === 'PUT' ? { kind: 'status', status: 403, code: 'AccessDenied' } : undefined;
  await expect(probeRemote(store, remote)).rejects.toMatchObject({
    code: 'REMOTE_DENIED',
    message: expect.stringMatching(
      /403 AccessDenied: .*; if this machine only fetches from there, add it with --no-probe$/,
    ),
  });
});
