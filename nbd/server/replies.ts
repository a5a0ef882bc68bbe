import {
  DATA_OFFSET_BYTES,
  encodeError,
  HOLE_BYTES,
  type RequestFailure,
  writeDataOffset,
  writeHole,
} from '../protocol/chunk.ts';
import { Chunk } from '../protocol/constants.ts';
import {
  CHUNK_HEADER_BYTES,
  REPLY_MAGIC_BYTES,
  SIMPLE_REPLY_BYTES,
  writeChunkHeader,
  writeSimpleReply,
} from '../protocol/reply.ts';

/** What goes to the client for a request, in one piece. */
export interface ReplyBytes {
  readonly bytes: Buffer;
  /** Of `Buffers`, which it may be given back to when the bytes are sent. */
  readonly buffer?: Buffer;
}

/** Bytes of headers with their magic, and of a chunk with all that comes before its data. */
export const SIMPLE_HEAD_BYTES = REPLY_MAGIC_BYTES + SIMPLE_REPLY_BYTES;
export const CHUNK_HEAD_BYTES = REPLY_MAGIC_BYTES + CHUNK_HEADER_BYTES;
export const DATA_HEAD_BYTES = CHUNK_HEAD_BYTES + DATA_OFFSET_BYTES;
export const HOLE_CHUNK_BYTES = CHUNK_HEAD_BYTES + HOLE_BYTES;

/** The reply to a request that has succeeded and has no data. */
export function successReply(cookie: bigint, structured: boolean): ReplyBytes {
  return { bytes: structured ? chunk(cookie, Chunk.none, undefined) : simpleReply(cookie, 0) };
}

/** The reply to a request that has failed; where replies are not structured there is no room for the message. */
export function failureReply(cookie: bigint, failure: RequestFailure, structured: boolean): ReplyBytes {
  if (!structured) return { bytes: simpleReply(cookie, failure.error) };
  return { bytes: chunk(cookie, Chunk.error, encodeError(failure)) };
}

/** The reply to a read of a range that is zeros all over, where replies are structured. */
export function holeReply(cookie: bigint, offset: number, length: number): ReplyBytes {
  const bytes = Buffer.allocUnsafe(HOLE_CHUNK_BYTES);
  writeHoleChunk(bytes, 0, cookie, offset, length, true);
  return { bytes };
}

/** A reply of one chunk. */
export function chunkReply(cookie: bigint, type: number, payload: Buffer): ReplyBytes {
  return { bytes: chunk(cookie, type, payload) };
}

/** Writes a chunk of data at `at`, but the data, which belong {@link DATA_HEAD_BYTES} behind. */
export function writeDataHead(
  bytes: Buffer,
  at: number,
  cookie: bigint,
  offset: number,
  length: number,
  done: boolean,
): void {
  writeChunkHeader(bytes, at, { done, type: Chunk.offsetData, cookie, length: DATA_OFFSET_BYTES + length });
  writeDataOffset(bytes, at + CHUNK_HEAD_BYTES, offset);
}

/** Writes a chunk that is a hole, {@link HOLE_CHUNK_BYTES}, at `at`. */
export function writeHoleChunk(
  bytes: Buffer,
  at: number,
  cookie: bigint,
  offset: number,
  length: number,
  done: boolean,
): void {
  writeChunkHeader(bytes, at, { done, type: Chunk.offsetHole, cookie, length: HOLE_BYTES });
  writeHole(bytes, at + CHUNK_HEAD_BYTES, { offset, length });
}

function simpleReply(cookie: bigint, error: number): Buffer {
  const bytes = Buffer.allocUnsafe(SIMPLE_HEAD_BYTES);
  writeSimpleReply(bytes, { error, cookie });
  return bytes;
}

function chunk(cookie: bigint, type: number, payload: Buffer | undefined): Buffer {
  const head = Buffer.allocUnsafe(CHUNK_HEAD_BYTES);
  writeChunkHeader(head, 0, { done: true, type, cookie, length: payload?.length ?? 0 });
  return payload === undefined ? head : Buffer.concat([head, payload]);
}
