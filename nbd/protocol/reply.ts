import { CHUNK_DONE } from './constants.ts';

/** Bytes of the magic that tells a simple reply from a structured one. */
export const REPLY_MAGIC_BYTES = 4;
/** What follows the magic. */
export const SIMPLE_REPLY_BYTES = 12;
export const CHUNK_HEADER_BYTES = 16;

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

/** @param bytes behind the magic */
export function parseChunkHeader(bytes: Buffer): ChunkHeader {
  return {
    done: (bytes.readUInt16BE(0) & CHUNK_DONE) !== 0,
    type: bytes.readUInt16BE(2),
    cookie: bytes.readBigUInt64BE(4),
    length: bytes.readUInt32BE(12),
  };
}
