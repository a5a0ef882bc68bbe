/** Most bytes that a stored block of deflate can hold (RFC 1951 section 3.2.4). */
const MOST_STORED_BYTES = 0xffff;
const ZLIB_HEADER_BYTES = 2;
const BLOCK_HEADER_BYTES = 5;
const ADLER_BYTES = 4;
/** Window of 32 KiB, fastest level, no dictionary; a multiple of 31 (RFC 1950 section 2.2). */
const ZLIB_HEADER = 0x7801;

/** Length of the zlib stream that holds `size` bytes as they are. */
export function storedLength(size: number): number {
  return (
    ZLIB_HEADER_BYTES +
    Math.max(1, Math.ceil(size / MOST_STORED_BYTES)) * BLOCK_HEADER_BYTES +
    size +
    ADLER_BYTES
  );
}

/**
 * A zlib stream that holds data as it is, for data that deflate makes no smaller: it inflates at the speed of a copy.
 * @param deflated a zlib stream of the same data, whose checksum is taken over instead of being computed again
 */
export function storeInZlib(data: Uint8Array, deflated: Uint8Array): Buffer {
  const stream = Buffer.allocUnsafe(storedLength(data.length));
  writeStored(data, deflated.slice(deflated.length - ADLER_BYTES), stream);
  return stream;
}

/** Such a stream, in the place of one that deflate has made. @param into begins with that; has room for {@link storedLength}. @returns the stream's length */
export function storeInstead(data: Uint8Array, into: Uint8Array, deflatedLength: number): number {
  const length = storedLength(data.length);
  const checksum = into.slice(deflatedLength - ADLER_BYTES, deflatedLength);
  writeStored(data, checksum, Buffer.from(into.buffer, into.byteOffset, length));
  return length;
}

function writeStored(data: Uint8Array, checksum: Uint8Array, stream: Buffer): void {
  let at = stream.writeUInt16BE(ZLIB_HEADER, 0);
  for (let from = 0; from === 0 || from < data.length; from += MOST_STORED_BYTES) {
    const block = data.subarray(from, from + MOST_STORED_BYTES);
    at = stream.writeUInt8(from + block.length === data.length ? 1 : 0, at);
    at = stream.writeUInt16LE(block.length, at);
    at = stream.writeUInt16LE(~block.length & 0xffff, at);
    stream.set(block, at);
    at += block.length;
  }
  stream.set(checksum, at);
}
