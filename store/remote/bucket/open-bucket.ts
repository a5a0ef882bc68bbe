import { type Bucket, encryptedBucket, openKeys, openS3, type S3Limits } from '../../../remote/index.ts';
import type { Monitor } from '../../progress.ts';
import type { Remote } from '../remote.ts';

/**
 * Opens the bucket that a remote names; encrypted when the remote has recipients or identities.
 * @param limits how long the server is waited for
 * @throws ImgstoreError `USAGE`, `BAD_NAME`, `REMOTE_…`, `WRONG_KEY`, `IO`
 */
export async function openBucket(
  remote: Remote,
  url: string,
  monitor: Monitor = {},
  limits: Partial<S3Limits> = {},
): Promise<Bucket> {
  const { endpoint, region, pathStyle, profile, recipients, identity } = remote;
  const bucket = await openS3({ url, endpoint, region, pathStyle, profile, limits, signal: monitor.signal });
  if (recipients === undefined && identity === undefined) return bucket;
  try {
    const keys = await openKeys({
      recipientsFile: recipients,
      identityFile: identity,
      onNotice: monitor.onNotice,
    });
    return await encryptedBucket(bucket, keys);
  } catch (error) {
    await bucket.close();
    throw error;
  }
}
