import { ImgstoreError } from '../errors/index.ts';

/**
 * The name of an object: SHA-256 of its header and data, as 64 lower-case hex digits.
 *
 * A string, so that ids compare with `===`, serve as keys and print as they are. Files hold {@link ID_BYTES} raw
 * bytes; {@link idFromBytes} and {@link idToBytes} go between.
 */
export type ObjectId = string;

/** Bytes of an id in trees, packs and indexes. */
export const ID_BYTES = 32;
/** Hex digits of an id. */
export const ID_DIGITS = 2 * ID_BYTES;
/** git's id of "nothing": the old value of a ref that is made, the new value of one that is removed. */
export const NULL_ID: ObjectId = '0'.repeat(ID_DIGITS);

const ID_PATTERN = /^[0-9a-f]{64}$/;

/** True when `text` is a whole id in its one spelling. */
export function isId(text: string): boolean {
  return ID_PATTERN.test(text);
}

/** The id in the {@link ID_BYTES} bytes at `offset`. */
export function idFromBytes(bytes: Uint8Array, offset = 0): ObjectId {
  if (offset + ID_BYTES > bytes.length) {
    throw new ImgstoreError('DAMAGED', `an object id at byte ${offset} is cut short`, { offset });
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset + offset, ID_BYTES).toString('hex');
}

/** The {@link ID_BYTES} raw bytes of an id. */
export function idToBytes(id: ObjectId): Buffer {
  return Buffer.from(id, 'hex');
}
