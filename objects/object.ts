import { ImgstoreError } from '../errors/index.ts';
import { codecs } from './codec/select.ts';
import type { ObjectId } from './id.ts';

/** git's four kinds of object. */
export type ObjectType = 'blob' | 'tree' | 'commit' | 'tag';

/** An object as it was stored: its kind and its data without the header. */
export interface GitObject {
  readonly type: ObjectType;
  readonly data: Uint8Array;
}

/** An object's kind and the length of its data in bytes. */
export interface ObjectHeader {
  readonly type: ObjectType;
  readonly size: number;
}

/**
 * The largest object that is read into memory. Clusters are at most 2 MiB and attachments are small files; a store that
 * holds more was not made by imgstore.
 */
export const MOST_OBJECT_BYTES = 2 ** 30;

/** A header is at most `commit ` and the digits of 2^53 − 1 and a NUL: 24 bytes. */
const MOST_HEADER_BYTES = 24;

const HEADER_PATTERN = /^(blob|tree|commit|tag) (0|[1-9][0-9]{0,15})$/;

/** The header that is hashed before an object's data: `<type> <size>\0` (git: gitformat-loose). */
export function encodeObjectHeader(type: ObjectType, size: number): Buffer {
  return Buffer.from(`${type} ${size}\0`, 'latin1');
}

/**
 * Reads the header at the start of `bytes`; `length` is where the data begins.
 * @throws ImgstoreError `DAMAGED` when there is none.
 */
export function parseObjectHeader(bytes: Uint8Array): ObjectHeader & { readonly length: number } {
  const end = bytes.subarray(0, MOST_HEADER_BYTES).indexOf(0);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.max(end, 0)).toString('latin1');
  const match = HEADER_PATTERN.exec(text);
  const size = Number(match?.[2]);
  if (match === null || !Number.isSafeInteger(size)) {
    throw new ImgstoreError('DAMAGED', 'an object has no valid header', { header: text });
  }
  return { type: match[1] as ObjectType, size, length: end + 1 };
}

/** The id of an object: SHA-256 over its header and its data. */
export function objectId(type: ObjectType, data: Uint8Array): ObjectId {
  const digest = codecs().hash.create().update(encodeObjectHeader(type, data.length)).update(data).digest();
  return Buffer.from(digest.buffer, digest.byteOffset, digest.length).toString('hex');
}

/**
 * Checks that data is what its id says.
 * @throws ImgstoreError `DAMAGED` naming `where` it was read.
 */
export function verifyObject(id: ObjectId, object: GitObject, where: string): void {
  const found = objectId(object.type, object.data);
  if (found !== id) {
    throw new ImgstoreError('DAMAGED', `${where}: object ${id} is damaged: its bytes hash to ${found}`, {
      id,
      found,
      where,
    });
  }
}
