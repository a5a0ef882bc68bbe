import { afterEach } from 'vitest';
import { s3Bucket } from '../../../../remote/bucket/s3/s3-bucket.ts';
import type { Bucket, S3Limits, S3Options } from '../../../../remote/index.ts';
import { FakeS3, type FakeS3Settings } from '../../fake-s3.ts';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});

/** A server of its own, and a bucket on it, both closed after the test. @param limits besides short pauses */
export async function fakeBucket(
  settings: FakeS3Settings = {},
  limits: Partial<S3Limits> = {},
  more: Partial<S3Options> = {},
): Promise<{ fake: FakeS3; bucket: Bucket }> {
  const fake = await FakeS3.start(settings);
  const options = fake.options('p');
  const bucket = s3Bucket({ ...options, ...more, limits: { ...options.limits, ...limits } });
  open.push(fake, bucket);
  return { fake, bucket };
}
