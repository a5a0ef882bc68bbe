import type { InPlaceFile } from '../../block/index.ts';
import { encodeExtension, TYPE_END } from '../meta/extensions.ts';
import type { Qcow2Header } from '../meta/header.ts';
import type { HeaderExtension } from '../meta/header-encode.ts';
import * as layout from '../meta/layout.ts';

/** What of a header is not as it was. */
export interface ChangedHeader {
  /** All of them, in order, without the one that ends them. */
  readonly extensions: readonly HeaderExtension[];
  /** As it is stored; empty for an image that stands on nothing. */
  readonly backingName: Uint8Array;
}

/**
 * The bytes of a header, with its extensions and the backing file's name, as they will be; all else is left as it is.
 * @param file of the image @param noRoom what is thrown when that does not fit the first cluster
 */
export function encodeChangedHeader(
  file: InPlaceFile,
  header: Qcow2Header,
  { extensions, backingName }: ChangedHeader,
  noRoom: () => Error,
): Buffer {
  const clusterSize = 2 ** header.clusterBits;
  const before = Buffer.alloc(clusterSize);
  file.read(0, before);
  const fixedBytes =
    header.version === 2 ? layout.V2_HEADER_BYTES : before.readUInt32BE(layout.HEADER_LENGTH_AT);
  const end = { type: TYPE_END, data: new Uint8Array() };
  const area = [...extensions, end].map(({ type, data }) => encodeExtension(type, data));
  const bytes = Buffer.concat([before.subarray(0, fixedBytes), ...area, backingName]);
  if (bytes.length > clusterSize || backingName.length > layout.MAX_BACKING_NAME_BYTES) throw noRoom();
  const nameAt = backingName.length === 0 ? 0 : bytes.length - backingName.length;
  bytes.writeBigUInt64BE(BigInt(nameAt), layout.BACKING_OFFSET_AT);
  bytes.writeUInt32BE(backingName.length, layout.BACKING_SIZE_AT);
  // What the header before had behind that would be taken for nothing, but is no use either.
  const oldEnd = Math.max(bytes.length, before.findLastIndex((byte) => byte !== 0) + 1);
  return Buffer.concat([bytes, Buffer.alloc(oldEnd - bytes.length)]);
}

/** The backing file's name as it is stored. */
export function storedBackingName(file: InPlaceFile): Uint8Array {
  const place = Buffer.alloc(12);
  file.read(layout.BACKING_OFFSET_AT, place);
  const offset = place.readBigUInt64BE();
  const name = Buffer.alloc(offset === 0n ? 0 : place.readUInt32BE(8));
  file.read(Number(offset), name);
  return name;
}
