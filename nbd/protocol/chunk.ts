import { encodeMessage, readMessage, readOffset, writeOffset } from './bytes.ts';
import { Chunk } from './constants.ts';
import { ProtocolFault } from './fault.ts';

/** The offset that the payload of `Chunk.offsetData` begins with; data follow. */
export const DATA_OFFSET_BYTES = 8;
export const HOLE_BYTES = 12;

/** Error chunks carry one string and at most an offset. */
export const MAX_ERROR_BYTES = 6 + 65535 + 8;

/** A range of the export that reads as zeros (`NBD_REPLY_TYPE_OFFSET_HOLE`), in bytes. */
export interface HoleChunk {
  readonly offset: number;
  readonly length: number;
}

/** Why a request failed. */
export interface RequestFailure {
  /** One of "Error values". */
  readonly error: number;
  /** What the server says to people; empty if nothing. */
  readonly message: string;
}

/** @throws ProtocolFault */
export function parseDataOffset(bytes: Buffer): number {
  return readOffset(bytes, 0, 'the offset of data');
}

/** @throws ProtocolFault */
export function parseHole(payload: Buffer): HoleChunk {
  return { offset: readOffset(payload, 0, 'the offset of a hole'), length: payload.readUInt32BE(8) };
}

/** Writes what the payload of `Chunk.offsetData` begins with. */
export function writeDataOffset(bytes: Buffer, at: number, offset: number): void {
  writeOffset(bytes, at, offset);
}

/** Writes the payload of `Chunk.offsetHole`, {@link HOLE_BYTES}. */
export function writeHole(bytes: Buffer, at: number, { offset, length }: HoleChunk): void {
  writeOffset(bytes, at, offset);
  bytes.writeUInt32BE(length, at + 8);
}

/** Payload of `Chunk.error`. */
export function encodeError({ error, message }: RequestFailure): Buffer {
  const text = encodeMessage(message);
  const head = Buffer.alloc(6);
  head.writeUInt32BE(error, 0);
  head.writeUInt16BE(text.length, 4);
  return Buffer.concat([head, text]);
}

/** Parses any error chunk (`NBD_REPLY_TYPE_ERROR`, `NBD_REPLY_TYPE_ERROR_OFFSET`, unknown ones). @throws ProtocolFault */
export function parseError(payload: Buffer, type: number): RequestFailure {
  const tail = type === Chunk.errorOffset ? 8 : 0;
  if (payload.length < 6 + tail) throw new ProtocolFault(`an error has ${payload.length} bytes`);
  const error = payload.readUInt32BE(0);
  if (error === 0) throw new ProtocolFault('an error has the number 0');
  const length = payload.readUInt16BE(4);
  if (6 + length + tail > payload.length)
    throw new ProtocolFault(`the text of an error does not fit into its ${payload.length} bytes`);
  return { error, message: readMessage(payload.subarray(6, 6 + length)) };
}
