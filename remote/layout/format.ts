import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { isEncrypted } from '../age/header.ts';
import type { Bucket } from '../bucket/bucket.ts';
import { FORMAT_NAME } from './names.ts';

/** Of what is laid out as docs/format/remote.md says. */
const VERSION = 1;

const MOST_BYTES = 4096;

/** What may be there before a remote is: the traces of a probe, and the secret of an encrypted one. */
const NOT_CONTENT = ['probe/', 'keys/'];
/** Enough to see past those. */
const MOST_LOOKED_AT = 100;

/**
 * Makes sure that a place in a bucket is a remote of this format, and makes it one when it is empty.
 * @throws ImgstoreError `UNSUPPORTED` for a newer format, `REMOTE_FAILED` for what is none, `WRONG_KEY` for one that is encrypted, `REMOTE_…`
 */
export async function beginRemote(bucket: Bucket): Promise<void> {
  if (await checkPlace(bucket)) return;
  const bytes = Buffer.from(`${JSON.stringify({ format: 'imgstore', version: VERSION })}\n`);
  // Who loses a race finds what the winner has made.
  if (!(await bucket.putNew(FORMAT_NAME, bytes))) await checkRemote(bucket);
}

/** As {@link checkRemote}, of a place that may become a remote: refuses one in which other things are. @throws ImgstoreError as {@link beginRemote}. */
export async function checkPlace(bucket: Bucket): Promise<boolean> {
  if (await checkRemote(bucket)) return true;
  for await (const { name } of bucket.list('', MOST_LOOKED_AT)) {
    if (NOT_CONTENT.some((prefix) => name.startsWith(prefix))) continue;
    // Another may have begun between the two looks.
    if (await checkRemote(bucket)) return true;
    throw new ImgstoreError(
      'REMOTE_FAILED',
      `${bucket.where}: is not empty (${name}) and no remote of imgstore: choose another prefix`,
      { where: bucket.where },
    );
  }
  return false;
}

/** Whether a place in a bucket is a remote. @throws ImgstoreError `UNSUPPORTED`, `REMOTE_FAILED`, `WRONG_KEY` as {@link beginRemote}, `REMOTE_…`. */
export async function checkRemote(bucket: Bucket): Promise<boolean> {
  let bytes: Uint8Array;
  try {
    bytes = await bucket.get(FORMAT_NAME, { offset: 0, length: MOST_BYTES });
  } catch (error) {
    if (isImgstoreError(error, 'NOT_FOUND')) return false;
    throw error;
  }
  const where = `${bucket.where}: ${FORMAT_NAME}`;
  if (isEncrypted(bytes))
    throw new ImgstoreError(
      'WRONG_KEY',
      `${where}: is encrypted by age, and the remote has no identity: add it with --identity FILE`,
      { where },
    );
  const { format, version } = parse(bytes);
  if (format !== 'imgstore')
    throw new ImgstoreError('REMOTE_FAILED', `${where}: is no remote of imgstore: choose another prefix`, {
      where,
    });
  if (version !== VERSION)
    throw new ImgstoreError(
      'UNSUPPORTED',
      `${where}: has format ${String(version)} where this imgstore knows ${VERSION}: use a newer imgstore`,
      { where },
    );
  return true;
}

function parse(bytes: Uint8Array): { readonly format?: unknown; readonly version?: unknown } {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
