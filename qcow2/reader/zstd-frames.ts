/*
 * Frames of zstd (RFC 8878, sections 3.1.1 and 3.1.2), measured without decoding: a compressed cluster may hold
 * several, is followed by bytes that mean nothing, and must not make the decoder allocate more than it should.
 *
 *   frame  u32 magic (little-endian), u8 descriptor, [u8 window], [dictionary id], [content size], blocks, [u32 sum]
 *   block  u24 header: bit 0 last, bits 1-2 type (0 raw, 1 run, 2 compressed), bits 3-23 size
 */
const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const SKIPPABLE_MASK = 0xfffffff0;
const MAX_BLOCK_BYTES = 128 * 1024;

const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;
const BLOCK_RUN = 1;
const BLOCK_RESERVED = 3;

/** One frame: its stored bytes, and at most how many it decodes to (0 for a skippable frame). */
export interface ZstdFrame {
  readonly length: number;
  readonly maxContent: number;
}

/** Measures the frame at `start`, or returns undefined when there is no whole frame. */
export function measureFrame(bytes: Buffer, start: number): ZstdFrame | undefined {
  if (bytes.length - start < 8) return undefined;
  const magic = bytes.readUInt32LE(start);
  if ((magic & SKIPPABLE_MASK) >>> 0 === SKIPPABLE_MAGIC) {
    const length = 8 + bytes.readUInt32LE(start + 4);
    return length > bytes.length - start ? undefined : { length, maxContent: 0 };
  }
  if (magic !== FRAME_MAGIC) return undefined;
  const descriptor = bytes[start + 4]!;
  const singleSegment = (descriptor & 0x20) !== 0;
  const sizeCode = descriptor >> 6;
  const contentBytes = sizeCode === 0 && singleSegment ? 1 : CONTENT_SIZE_BYTES[sizeCode]!;
  let at = start + 5 + (singleSegment ? 0 : 1) + DICTIONARY_ID_BYTES[descriptor & 3]!;
  if (at + contentBytes > bytes.length) return undefined;
  const declared = contentSize(bytes, at, contentBytes);
  at += contentBytes;

  let blocks = 0;
  for (let last = false; !last; blocks++) {
    if (at + 3 > bytes.length) return undefined;
    const header = bytes.readUIntLE(at, 3);
    last = (header & 1) !== 0;
    const type = (header >> 1) & 3;
    if (type === BLOCK_RESERVED) return undefined;
    at += 3 + (type === BLOCK_RUN ? 1 : header >> 3);
  }
  if ((descriptor & 4) !== 0) at += 4;
  if (at > bytes.length) return undefined;
  return { length: at - start, maxContent: declared ?? blocks * MAX_BLOCK_BYTES };
}

function contentSize(bytes: Buffer, at: number, length: number): number | undefined {
  if (length === 0) return undefined;
  if (length === 8) return Number(bytes.readBigUInt64LE(at));
  const value = bytes.readUIntLE(at, length);
  // The two-byte form counts from 256: what is below fits one byte.
  return length === 2 ? value + 256 : value;
}
