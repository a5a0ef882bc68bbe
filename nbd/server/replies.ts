import {
  DATA_OFFSET_BYTES,
  encodeError,
  HOLE_BYTES,
  type HoleChunk,
  type RequestFailure,
  writeDataOffset,
  writeHole,
} from '../protocol/chunk.ts';
import { Chunk } from '../protocol/constants.ts';
import {
  CHUNK_HEADER_BYTES,
  type ChunkHeader,
  EXTENDED_HEADER_BYTES,
  REPLY_MAGIC_BYTES,
  SIMPLE_REPLY_BYTES,
  writeChunkHeader,
  writeExtendedHeader,
  writeSimpleReply,
} from '../protocol/reply.ts';
import type { ParsedRequest } from '../protocol/request.ts';
import type { Terms } from './terms.ts';

/** What goes to the client for a request, in one piece. */
export interface ReplyBytes {
  readonly bytes: Buffer;
  /** Of `Buffers`, which it may be given back to when the bytes are sent. */
  readonly buffer?: Buffer;
}

/** What of a request goes into the headers of its reply. */
type Asked = Pick<ParsedRequest, 'cookie' | 'offset' | 'exactOffset'>;

/** Which headers were agreed on. */
type Framing = Pick<Terms, 'structured' | 'extended'>;

/** A range of the disk, as a chunk tells of it. */
interface ChunkRange extends HoleChunk {
  /** No more chunks follow. */
  readonly done: boolean;
}

/** Bytes of a simple reply's header with its magic. */
export const SIMPLE_HEAD_BYTES = REPLY_MAGIC_BYTES + SIMPLE_REPLY_BYTES;

/** Bytes of a chunk with all that comes before its data. */
export function dataHeadBytes(framing: Framing): number {
  return headBytes(framing) + DATA_OFFSET_BYTES;
}

/** Bytes of a chunk that is a hole. */
export function holeChunkBytes(framing: Framing): number {
  return headBytes(framing) + HOLE_BYTES;
}

/** The reply to a request that has succeeded and has no data. */
export function successReply(asked: Asked, framing: Framing): ReplyBytes {
  return framing.structured
    ? chunkReply(asked, framing, Chunk.none, undefined)
    : { bytes: simpleReply(asked.cookie, 0) };
}

/** The reply to a request that has failed; where replies are not structured there is no room for the message. */
export function failureReply(asked: Asked, framing: Framing, failure: RequestFailure): ReplyBytes {
  return framing.structured
    ? chunkReply(asked, framing, Chunk.error, encodeError(failure))
    : { bytes: simpleReply(asked.cookie, failure.error) };
}

/** The reply to a read of a range that is zeros all over, where replies are structured. */
export function holeReply(request: ParsedRequest, framing: Framing): ReplyBytes {
  const { offset, length } = request;
  const bytes = Buffer.allocUnsafe(holeChunkBytes(framing));
  writeHoleChunk(bytes, 0, request, framing, { offset, length, done: true });
  return { bytes };
}

/** A reply of one chunk. */
export function chunkReply(
  asked: Asked,
  framing: Framing,
  type: number,
  payload: Buffer | undefined,
): ReplyBytes {
  const head = Buffer.allocUnsafe(headBytes(framing));
  writeHead(head, 0, asked, framing, { done: true, type, length: payload?.length ?? 0 });
  return { bytes: payload === undefined ? head : Buffer.concat([head, payload]) };
}

/** Writes a chunk of data at `at`, but the data, which belong {@link dataHeadBytes} behind. */
export function writeDataHead(
  bytes: Buffer,
  at: number,
  asked: Asked,
  framing: Framing,
  { offset, length, done }: ChunkRange,
): void {
  const type = Chunk.offsetData;
  writeHead(bytes, at, asked, framing, { done, type, length: DATA_OFFSET_BYTES + length });
  writeDataOffset(bytes, at + headBytes(framing), offset);
}

/** Writes a chunk that is a hole, {@link holeChunkBytes}, at `at`. */
export function writeHoleChunk(
  bytes: Buffer,
  at: number,
  asked: Asked,
  framing: Framing,
  { offset, length, done }: ChunkRange,
): void {
  writeHead(bytes, at, asked, framing, { done, type: Chunk.offsetHole, length: HOLE_BYTES });
  writeHole(bytes, at + headBytes(framing), { offset, length });
}

function headBytes({ extended }: Framing): number {
  return REPLY_MAGIC_BYTES + (extended ? EXTENDED_HEADER_BYTES : CHUNK_HEADER_BYTES);
}

function writeHead(
  bytes: Buffer,
  at: number,
  { cookie, offset, exactOffset }: Asked,
  { extended }: Framing,
  { done, type, length }: Omit<ChunkHeader, 'cookie'>,
): void {
  const header = { done, type, cookie, length };
  if (extended) writeExtendedHeader(bytes, at, header, exactOffset ?? offset);
  else writeChunkHeader(bytes, at, header);
}

function simpleReply(cookie: bigint, error: number): Buffer {
  const bytes = Buffer.allocUnsafe(SIMPLE_HEAD_BYTES);
  writeSimpleReply(bytes, { error, cookie });
  return bytes;
}
