import { readLooseOffset, writeOffset } from './bytes.ts';
import { CHUNK_DONE, EXTENDED_REPLY_MAGIC, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC } from './constants.ts';

/** Bytes of the magic that tells a simple reply from a structured one. */
export const REPLY_MAGIC_BYTES = 4;
/** What follows the magic. */
export const SIMPLE_REPLY_BYTES = 12;
export const CHUNK_HEADER_BYTES = 16;
/** Of a chunk where extended headers were agreed on. */
export const EXTENDED_HEADER_BYTES = 28;

/** "Simple reply message", without its data. */
export interface SimpleReply {
  /** One of "Error values"; 0 for success. */
  readonly error: number;
  readonly cookie: bigint;
}

/** "Structured reply chunk message", without its payload. */
export interface ChunkHeader {
  /** No more chunks follow for this request. */
  readonly done: boolean;
  /** Of `Chunk`. */
  readonly type: number;
  readonly cookie: bigint;
  /** Bytes of payload. */
  readonly length: number;
}

/** @param bytes behind the magic */
export function parseSimpleReply(bytes: Buffer): SimpleReply {
  return { error: bytes.readUInt32BE(0), cookie: bytes.readBigUInt64BE(4) };
}

/** Writes a simple reply at the front of `bytes`, with its magic: {@link REPLY_MAGIC_BYTES} and {@link SIMPLE_REPLY_BYTES}. */
export function writeSimpleReply(bytes: Buffer, { error, cookie }: SimpleReply): void {
  bytes.writeUInt32BE(SIMPLE_REPLY_MAGIC, 0);
  bytes.writeUInt32BE(error, 4);
  bytes.writeBigUInt64BE(cookie, 8);
}

/** Writes a chunk's header at `at`, with its magic: {@link REPLY_MAGIC_BYTES} and {@link CHUNK_HEADER_BYTES}. */
export function writeChunkHeader(bytes: Buffer, at: number, header: ChunkHeader): void {
  bytes.writeUInt32BE(STRUCTURED_REPLY_MAGIC, at);
  bytes.writeUInt16BE(header.done ? CHUNK_DONE : 0, at + 4);
  bytes.writeUInt16BE(header.type, at + 6);
  bytes.writeBigUInt64BE(header.cookie, at + 8);
  bytes.writeUInt32BE(header.length, at + 16);
}

/** @param bytes behind the magic */
export function parseChunkHeader(bytes: Buffer): ChunkHeader {
  return {
    done: (bytes.readUInt16BE(0) & CHUNK_DONE) !== 0,
    type: bytes.readUInt16BE(2),
    cookie: bytes.readBigUInt64BE(4),
    length: bytes.readUInt32BE(12),
  };
}

/** "Extended reply chunk message", without its payload. */
export interface ExtendedHeader extends ChunkHeader {
  /** Of the request. */
  readonly offset: bigint;
}

/** As {@link writeChunkHeader}: {@link REPLY_MAGIC_BYTES} and {@link EXTENDED_HEADER_BYTES}. @param offset of the request */
export function writeExtendedHeader(
  bytes: Buffer,
  at: number,
  header: ChunkHeader,
  offset: number | bigint,
): void {
  bytes.writeUInt32BE(EXTENDED_REPLY_MAGIC, at);
  bytes.writeUInt16BE(header.done ? CHUNK_DONE : 0, at + 4);
  bytes.writeUInt16BE(header.type, at + 6);
  bytes.writeBigUInt64BE(header.cookie, at + 8);
  if (typeof offset === 'bigint') bytes.writeBigUInt64BE(offset, at + 16);
  else writeOffset(bytes, at + 16, offset);
  writeOffset(bytes, at + 24, header.length);
}

/** @param bytes behind the magic */
export function parseExtendedHeader(bytes: Buffer): ExtendedHeader {
  return {
    done: (bytes.readUInt16BE(0) & CHUNK_DONE) !== 0,
    type: bytes.readUInt16BE(2),
    cookie: bytes.readBigUInt64BE(4),
    offset: bytes.readBigUInt64BE(12),
    length: readLooseOffset(bytes, 20),
  };
}
