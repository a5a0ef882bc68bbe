import { ImgstoreError } from '../../../errors/index.ts';
import type { BucketEntry } from '../bucket.ts';
import { readWhole, type S3Client, type S3Request } from './client.ts';
import { parseSize } from './download.ts';
import { BrokenAnswer } from './fault.ts';
import { childrenOf, parseAnswer, textOf, type XmlElement } from './xml.ts';

/** S3's own limit. */
const MAX_PAGE = 1000;
/** A page of 1000 keys of 1024 bytes each, percent-encoded, with what is told of each. */
const MAX_PAGE_BYTES = 8 << 20;

/** A page of a listing. */
interface Page {
  /** With whole keys in the place of names. */
  readonly entries: readonly BucketEntry[];
  /** What asks for the next page. */
  readonly next: string | undefined;
}

/**
 * Lists objects by ListObjectsV2.
 * @param keyPrefix what the keys begin with
 * @param most entries
 * @returns entries with whole keys as names, in bytewise order
 * @throws ImgstoreError `REMOTE_…`, `INTERRUPTED`
 */
export async function* listKeys(
  client: S3Client,
  keyPrefix: string,
  label: string,
  most = Number.POSITIVE_INFINITY,
): AsyncGenerator<BucketEntry, void> {
  let left = most;
  let token: string | undefined;
  let last: string | undefined;
  while (left > 0) {
    const page = await listPage(client, keyPrefix, Math.min(left, MAX_PAGE), token, label);
    for (const entry of page.entries) {
      if (!entry.name.startsWith(keyPrefix))
        throw badListing(client, label, 'names objects that were not asked for');
      // What is read out of a listing depends on the order, and a server that begins anew with each page would never end.
      if (last !== undefined && compareBytes(last, entry.name) >= 0)
        throw badListing(client, label, 'is not in the order of the names');
      last = entry.name;
      yield entry;
      if (--left === 0) return;
    }
    if (page.next === undefined) return;
    if (page.next === token) throw badListing(client, label, 'does not go on');
    token = page.next;
  }
}

function listPage(
  client: S3Client,
  prefix: string,
  most: number,
  token: string | undefined,
  label: string,
): Promise<Page> {
  const request: S3Request = {
    method: 'GET',
    query: {
      'list-type': '2',
      prefix,
      'max-keys': String(most),
      'encoding-type': 'url',
      ...(token === undefined ? {} : { 'continuation-token': token }),
    },
    label,
  };
  return client.exchange(request, async (answer) =>
    parsePage(parseAnswer(await readWhole(answer, MAX_PAGE_BYTES), 'ListBucketResult')),
  );
}

function parsePage(result: XmlElement): Page {
  const isEncoded = textOf(result, 'EncodingType') === 'url';
  const entries = childrenOf(result, 'Contents').map((element) => parseEntry(element, isEncoded));
  const next = textOf(result, 'NextContinuationToken');
  const isTruncated = textOf(result, 'IsTruncated');
  if (isTruncated !== 'true' && isTruncated !== 'false')
    throw new BrokenAnswer('the listing does not say whether it goes on');
  if (isTruncated === 'false') return { entries, next: undefined };
  if (!next) throw new BrokenAnswer('the listing does not say where it goes on');
  return { entries, next };
}

function parseEntry(element: XmlElement, isEncoded: boolean): BucketEntry {
  const key = textOf(element, 'Key');
  const name = key === undefined || !isEncoded ? key : decodeKey(key);
  const size = parseSize(textOf(element, 'Size'));
  const modified = new Date(textOf(element, 'LastModified') ?? Number.NaN);
  if (name === undefined || size === undefined || Number.isNaN(modified.getTime()))
    throw new BrokenAnswer('the listing has an entry without name, size or time');
  return { name, size, modified };
}

/** Encoded as in a form, where a space is a plus. */
function decodeKey(key: string): string | undefined {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function badListing(client: S3Client, label: string, how: string): ImgstoreError {
  return new ImgstoreError(
    'REMOTE_FAILED',
    `${client.where}: ${label}: the server's listing ${how}: it is no server that imgstore can use`,
    { url: client.where },
  );
}
