import { allDone } from '../../../block/index.ts';
import { type Bucket, type BucketBody, indexName, type PackUpload, packName } from '../../../remote/index.ts';

/** Puts a pack and its index under the names of an upload. Neither is on its way any more when this fails. @throws ImgstoreError `REMOTE_…`, and what the bodies throw */
export function putPack(
  bucket: Bucket,
  upload: PackUpload,
  pack: BucketBody,
  index: BucketBody,
): Promise<void> {
  return allDone([bucket.put(packName(upload), pack), bucket.put(indexName(upload), index)]);
}
