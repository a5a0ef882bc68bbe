import { decodeName } from './extensions.ts';
import { LUKS_MAGIC } from './luks-header.ts';

/*
 * The binary header of LUKS version 2 (LUKS2 On-Disk Format Specification, section 2.1); numbers are big-endian. It
 * is there twice, each time with the JSON area behind it.
 *
 *     0  6 B   magic "LUKS\xba\xbe", or "SKUL\xba\xbe" in the second copy
 *     6  u16   version                   104  64 B  salt, which only makes the copies differ
 *     8  u64   bytes with the JSON area  168  40 B  uuid
 *    16  u64   sequence number           208  48 B  subsystem
 *    24  48 B  label                     256  u64   offset of this copy
 *    72  32 B  name of the checksum      448  64 B  checksum of all this and the JSON area, itself as zeros
 */
const SECOND_MAGIC = Buffer.from('SKUL\xba\xbe', 'latin1');
const VERSION_AT = LUKS_MAGIC.length;
const SIZE_AT = VERSION_AT + 2;
const SEQUENCE_AT = SIZE_AT + 8;
const CHECKSUM_NAME_AT = 72;
const CHECKSUM_NAME_BYTES = 32;
const OFFSET_AT = 256;
export const CHECKSUM_AT = 448;
export const CHECKSUM_BYTES = 64;

/** The JSON area begins behind these. */
export const LUKS2_BINARY_BYTES = 4096;
/** What a copy may have with its JSON area, and so where the second one may begin: 16 KiB to 4 MiB. */
export const LUKS2_COPY_BYTES: readonly number[] = Array.from({ length: 9 }, (_, i) => 2 ** (14 + i));

/** One copy's binary header. */
export interface Luks2Binary {
  /** Bytes with the JSON area. */
  readonly size: number;
  /** Higher in the newer copy. */
  readonly sequence: bigint;
  readonly checksumName: string;
}

/** Parses the copy that begins at `offset`: 0 for the first. Gives a text about what is wrong with it otherwise. */
export function parseLuks2Binary(bytes: Buffer, offset: number): Luks2Binary | string {
  const magic = offset === 0 ? LUKS_MAGIC : SECOND_MAGIC;
  if (!magic.equals(bytes.subarray(0, magic.length))) return 'has no magic';
  const version = bytes.readUInt16BE(VERSION_AT);
  if (version !== 2) return `has version = ${version}, not 2`;
  const ownOffset = bytes.readBigUInt64BE(OFFSET_AT);
  if (ownOffset !== BigInt(offset)) return `has hdr_offset = ${ownOffset}, not ${offset}`;
  const storedSize = bytes.readBigUInt64BE(SIZE_AT);
  const size = LUKS2_COPY_BYTES.find((each) => BigInt(each) === storedSize);
  if (size === undefined) return `has hdr_size = ${storedSize}, not a power of two from 16384 to 4194304`;
  if (offset !== 0 && size !== offset) return `has hdr_size = ${size}, not ${offset}, where it begins`;
  return {
    size,
    sequence: bytes.readBigUInt64BE(SEQUENCE_AT),
    checksumName: decodeName(bytes.subarray(CHECKSUM_NAME_AT, CHECKSUM_NAME_AT + CHECKSUM_NAME_BYTES)),
  };
}
