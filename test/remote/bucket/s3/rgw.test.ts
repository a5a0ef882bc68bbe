import { beforeAll } from 'vitest';
import { s3Bucket } from '../../../../remote/bucket/s3/s3-bucket.ts';
import { bucketConformance } from '../../bucket-conformance.ts';
import { type Rgw, sharedRgw } from '../../rgw.ts';

let rgw: Rgw;
beforeAll(async () => {
  rgw = await sharedRgw();
});

bucketConformance('openS3 on Ceph', async () => s3Bucket(rgw.options(await rgw.newBucket())));
bucketConformance('openS3 on Ceph with a prefix', async () =>
  s3Bucket(rgw.options(`${await rgw.newBucket()}/a prefix/of ü&`)),
);
