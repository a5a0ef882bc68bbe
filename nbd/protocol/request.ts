import { readLooseOffset, writeOffset } from './bytes.ts';
import { Command, CommandFlag, EXTENDED_REQUEST_MAGIC, REQUEST_MAGIC } from './constants.ts';
import { ProtocolFault } from './fault.ts';

export const REQUEST_BYTES = 28;
/** Where extended headers were agreed on. */
export const EXTENDED_REQUEST_BYTES = 32;

/** A request without payload ("Request message"). */
export interface Request {
  /** Of `CommandFlag`; none if not said. */
  readonly flags?: number;
  /** Of `Command`. */
  readonly command: number;
  /** Chosen by the client; the replies carry it. */
  readonly cookie: bigint;
  /** Bytes. What a parser finds beyond 2^53 is not exact, and past the end of every export. */
  readonly offset: number;
  readonly length: number;
}

/** A request that has come. */
export interface ParsedRequest extends Required<Request> {
  /** As it was sent, where {@link Request.offset} is not exact. */
  readonly exactOffset?: bigint;
}

/**
 * Bytes that follow a request's header. A write always has them, also where a client forgot to say so, as libnbd does when it is told to check nothing; QEMU's server sees it so too.
 * @param extended whether extended headers were agreed on
 */
export function payloadBytes({ flags, command, length }: ParsedRequest, extended: boolean): number {
  const saysSo = extended && (flags & CommandFlag.payloadLength) !== 0;
  return saysSo || command === Command.write ? length : 0;
}

export function encodeRequest(request: Request): Buffer {
  const bytes = withHead(REQUEST_BYTES, REQUEST_MAGIC, request);
  bytes.writeUInt32BE(request.length, 24);
  return bytes;
}

/**
 * Parses the {@link REQUEST_BYTES} at `at`.
 * @throws ProtocolFault when they do not begin with the magic; every other field may be anything
 */
export function parseRequest(bytes: Buffer, at: number): ParsedRequest {
  refuseMagic(bytes.readUInt32BE(at), REQUEST_MAGIC);
  return {
    flags: bytes.readUInt16BE(at + 4),
    command: bytes.readUInt16BE(at + 6),
    cookie: bytes.readBigUInt64BE(at + 8),
    offset: readLooseOffset(bytes, at + 16),
    length: bytes.readUInt32BE(at + 24),
  };
}

/** As {@link encodeRequest}, with a length of 64 bits. */
export function encodeExtendedRequest(request: Request): Buffer {
  const bytes = withHead(EXTENDED_REQUEST_BYTES, EXTENDED_REQUEST_MAGIC, request);
  writeOffset(bytes, 24, request.length);
  return bytes;
}

/** As {@link parseRequest}, of {@link EXTENDED_REQUEST_BYTES}. @throws ProtocolFault */
export function parseExtendedRequest(bytes: Buffer, at: number): ParsedRequest {
  refuseMagic(bytes.readUInt32BE(at), EXTENDED_REQUEST_MAGIC);
  const offset = readLooseOffset(bytes, at + 16);
  const request = {
    flags: bytes.readUInt16BE(at + 4),
    command: bytes.readUInt16BE(at + 6),
    cookie: bytes.readBigUInt64BE(at + 8),
    offset,
    length: readLooseOffset(bytes, at + 24),
  };
  return offset <= Number.MAX_SAFE_INTEGER
    ? request
    : { ...request, exactOffset: bytes.readBigUInt64BE(at + 16) };
}

/** A header with all before its length, which is where the two kinds differ. */
function withHead(size: number, magic: number, { flags = 0, command, cookie, offset }: Request): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32BE(magic, 0);
  bytes.writeUInt16BE(flags, 4);
  bytes.writeUInt16BE(command, 6);
  bytes.writeBigUInt64BE(cookie, 8);
  writeOffset(bytes, 16, offset);
  return bytes;
}

function refuseMagic(found: number, magic: number): void {
  if (found !== magic) throw new ProtocolFault(`a request has the magic 0x${found.toString(16)}`);
}
