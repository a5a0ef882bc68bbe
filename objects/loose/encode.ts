import { encodeObjectHeader, type ObjectType } from '../object.ts';

/**
 * A loose object is a zlib stream of header and data; a pack entry is one of the data alone. Data is deflated once,
 * for a pack; this makes the loose form out of it without deflating again: the header goes into a stored block in front, and the
 * checksum of the whole is computed from the checksums of the parts.
 *
 * ```text
 * pack entry:  78 xx | deflate blocks of data                          | adler32(data)
 * loose file:  78 01 | stored block: header | deflate blocks of data   | adler32(header + data)
 * ```
 * (RFC 1950 section 2.2, RFC 1951 section 3.2.4; `adler32_combine` of zlib.)
 */
export function looseFromDeflated(type: ObjectType, size: number, deflated: Uint8Array): Buffer {
  const header = encodeObjectHeader(type, size);
  const body = deflated.subarray(ZLIB_HEADER_BYTES, deflated.length - ADLER_BYTES);
  const file = Buffer.allocUnsafe(
    ZLIB_HEADER_BYTES + STORED_HEADER_BYTES + header.length + body.length + ADLER_BYTES,
  );
  let at = file.writeUInt16BE(ZLIB_HEADER, 0);
  at = file.writeUInt8(STORED_NOT_LAST, at);
  at = file.writeUInt16LE(header.length, at);
  at = file.writeUInt16LE(~header.length & 0xffff, at);
  at += header.copy(file, at);
  file.set(body, at);
  at += body.length;
  const dataAdler = Buffer.from(
    deflated.buffer,
    deflated.byteOffset + deflated.length - ADLER_BYTES,
    ADLER_BYTES,
  ).readUInt32BE();
  file.writeUInt32BE(adler32Combine(adler32(header), dataAdler, size), at);
  return file;
}

const ZLIB_HEADER_BYTES = 2;
const ADLER_BYTES = 4;
/** Block type 00, not the last; LEN; its complement NLEN. */
const STORED_HEADER_BYTES = 5;
const STORED_NOT_LAST = 0x00;
/** Window of 32 KiB, fastest level: what git's own loose objects begin with, and a multiple of 31 as the format wants. */
const ZLIB_HEADER = 0x7801;
/** Largest prime below 2^16 (RFC 1950 section 8.2). */
const ADLER_BASE = 65521;

/** Adler-32 of a few bytes (a header). */
function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % ADLER_BASE;
    b = (b + a) % ADLER_BASE;
  }
  return b * 0x10000 + a;
}

/**
 * Adler-32 of two strings in a row, from that of each and the length of the second. Every `a` sum starts at 1, which the
 * second must not count twice; the first's `a` goes once into `b` for each byte of the second.
 */
function adler32Combine(first: number, second: number, secondLength: number): number {
  const a1 = first & 0xffff;
  const a2 = second & 0xffff;
  const a = (a1 + a2 + ADLER_BASE - 1) % ADLER_BASE;
  const carried = ((secondLength % ADLER_BASE) * ((a1 + ADLER_BASE - 1) % ADLER_BASE)) % ADLER_BASE;
  const b = ((first >>> 16) + (second >>> 16) + carried) % ADLER_BASE;
  return b * 0x10000 + a;
}
