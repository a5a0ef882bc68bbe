import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { probeRemote } from '../../../store/remote/probe.ts';
import type { Remote } from '../../../store/remote/remote.ts';
import { FakeS3 } from '../../remote/fake-s3.ts';
import { newStore } from '../new-store.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

test('probeRemote says once that a bucket is not there', async () => {
  const fake = await FakeS3.start();
  onTestFinished(() => fake.close());
  vi.stubEnv('AWS_ACCESS_KEY_ID', fake.keys.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', fake.keys.secretAccessKey);
  const { store } = await newStore();
  const remote = {
    name: 'origin',
    url: 's3://nosuch/vms',
    endpoint: fake.endpoint,
    pathStyle: true,
  } as Remote;
  await expect(probeRemote(store, remote)).rejects.toMatchObject({
    code: 'REMOTE_FAILED',
    message: expect.stringMatching(/^s3:\/\/nosuch\/vms: LIST: 404 NoSuchBucket[^;]*make the bucket[^;]*$/),
  });
});
