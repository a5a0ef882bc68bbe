import { beforeAll } from 'vitest';
import { openS3 } from '../../../../remote/index.ts';
import { bucketConformance } from '../../bucket-conformance.ts';
import { type Rgw, sharedRgw } from '../../rgw.ts';

let rgw: Rgw;
beforeAll(async () => {
  rgw = await sharedRgw();
});

bucketConformance('openS3 on Ceph', async () => openS3(rgw.options(await rgw.newBucket())));
bucketConformance('openS3 on Ceph with a prefix', async () =>
  openS3(rgw.options(`${await rgw.newBucket()}/a prefix/of ü&`)),
);
