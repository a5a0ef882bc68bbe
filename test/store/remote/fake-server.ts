import { onTestFinished, vi } from 'vitest';
import { FakeS3 } from '../../remote/fake-s3.ts';

/** A server of S3 for one test, whose keys are in the environment meanwhile. */
export async function fakeServer(): Promise<FakeS3> {
  const fake = await FakeS3.start();
  vi.stubEnv('AWS_ACCESS_KEY_ID', fake.keys.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', fake.keys.secretAccessKey);
  onTestFinished(async () => {
    vi.unstubAllEnvs();
    await fake.close();
  });
  return fake;
}
