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

/** Breaks off the first pack that is longer than that after so many bytes, and refuses everything from then on. */
export function breakOffPack(fake: FakeS3, bytes: number): void {
  let isBroken = false;
  fake.faultOf = ({ key, method }) => {
    if (isBroken) return { kind: 'status', status: 403, code: 'AccessDenied' };
    if (method !== 'GET' || !key?.endsWith('.pack') || fake.objects.get(key)!.bytes.length < bytes)
      return undefined;
    isBroken = true;
    return { kind: 'end-within', bytes };
  };
}
