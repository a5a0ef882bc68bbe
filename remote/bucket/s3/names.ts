import { ImgstoreError } from '../../../errors/index.ts';

/** Bytes of a key in UTF-8, "Naming Amazon S3 objects". */
const MAX_KEY_BYTES = 1024;

/** "General purpose bucket naming rules"; only such names can be part of a host's name. */
const HOST_BUCKET = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/;
/** What AWS allowed once and other servers still do, in the path only. */
const PATH_BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/;

/** A bucket and the part of it that is used. */
export interface S3Place {
  readonly bucket: string;
  /** Empty, or with a slash at its end. */
  readonly prefix: string;
  /** `s3://bucket/prefix`, for messages. */
  readonly where: string;
}

/**
 * Parses `s3://bucket/prefix`.
 * @throws ImgstoreError `USAGE` when it is no such URL, `BAD_NAME` when no bucket or key can have the name
 */
export function parseS3Url(url: string): S3Place {
  // A URL with a key and a secret in it must not be repeated in a message.
  const shown = url.includes('@') ? 's3://…@…' : url;
  const parts = /^s3:\/\/([^/]*)(?:\/(.*))?$/su.exec(url);
  if (parts === null)
    throw new ImgstoreError('USAGE', `${shown}: is no URL of a bucket: write s3://bucket/prefix`);
  const bucket = parts[1]!;
  if (!PATH_BUCKET.test(bucket) || bucket.includes('..'))
    throw new ImgstoreError(
      'BAD_NAME',
      `${shown}: not a bucket's name: write s3://bucket/prefix, where bucket is 3 to 63 lower-case letters, digits, dots and hyphens; credentials and the server do not belong there`,
    );
  const prefix = (parts[2] ?? '').replace(/\/+$/, '');
  const where = prefix === '' ? `s3://${bucket}` : `s3://${bucket}/${prefix}`;
  const fault = prefix === '' ? undefined : (keyFault(prefix) ?? delimiterFault(prefix));
  if (fault !== undefined) throw new ImgstoreError('BAD_NAME', `${where}: the prefix ${fault}`);
  return { bucket, prefix: prefix === '' ? '' : `${prefix}/`, where };
}

/** True when the bucket can be part of a host's name. A dot is left out too, as no certificate of the server would be good for it. */
export function isHostName(bucket: string): boolean {
  return HOST_BUCKET.test(bucket);
}

/** The key of an object. @throws ImgstoreError `BAD_NAME` */
export function keyOf(place: S3Place, name: string): string {
  const key = place.prefix + name;
  const fault = name === '' ? 'is empty' : keyFault(key);
  if (fault !== undefined) throw new ImgstoreError('BAD_NAME', `${place.where}: ${name}: the name ${fault}`);
  return key;
}

/** What is wrong with a key, or undefined. `.` and `..` would be resolved on the way, by ourselves or by a proxy, and mean another object. */
function keyFault(key: string): string | undefined {
  if (Buffer.from(key).toString() !== key) return 'is not valid Unicode';
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) return `has more than ${MAX_KEY_BYTES} bytes`;
  if (key.split('/').some((part) => part === '.' || part === '..')) return 'has . or .. as a part';
  if (/[\x00-\x1f\x7f]/.test(key)) return 'has control characters';
  return undefined;
}

function delimiterFault(prefix: string): string | undefined {
  if (prefix.startsWith('/') || prefix.includes('//')) return 'has an empty part';
  return /[?#]/.test(prefix) ? 'has ? or #, which end a path in a URL' : undefined;
}

/** Percent-encodes all but the unreserved characters of RFC 3986, as "Create a signed AWS API request" wants it for paths and queries. */
export function percentEncode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
