import { afterAll, beforeAll } from 'vitest';
import { s3Bucket } from '../../../../remote/bucket/s3/s3-bucket.ts';
import type { Bucket } from '../../../../remote/index.ts';
import { bucketConformance } from '../../bucket-conformance.ts';
import { FakeS3, type FakeS3Settings } from '../../fake-s3.ts';

/** Servers that have less of S3 than Ceph. */
const SERVERS: Readonly<Record<string, FakeS3Settings>> = {
  'a small server': {},
  'a server without ranges, DeleteObjects and encoding of keys': {
    hasRanges: false,
    deletesMany: false,
    encodesKeys: false,
  },
  'a server that wants a session token and another region': {
    region: 'xx-north-7',
    keys: { accessKeyId: 'Ab+c=', secretAccessKey: 'secret ü', sessionToken: 'session+/=token' },
  },
};

for (const [kind, settings] of Object.entries(SERVERS)) {
  let fake: FakeS3;
  beforeAll(async () => {
    fake = await FakeS3.start(settings);
  });
  afterAll(() => fake.close());
  const open = async (): Promise<Bucket> => {
    fake.objects.clear();
    return s3Bucket(fake.options('of some/prefix'));
  };
  bucketConformance(`openS3 on ${kind}`, open);
}
