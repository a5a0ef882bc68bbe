import type { Bucket } from '../bucket.ts';
import type { S3Options } from './options.ts';

/**
 * Opens a bucket. Nothing is sent yet. What signs and parses is loaded here, as most verbs go to no bucket.
 * @throws ImgstoreError `USAGE`, `BAD_NAME`, `REMOTE_DENIED` when there is no key, `IO`
 */
export async function openS3(options: S3Options): Promise<Bucket> {
  const { s3Bucket } = await import('./s3-bucket.ts');
  return s3Bucket(options);
}
