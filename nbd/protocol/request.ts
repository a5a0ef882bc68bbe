import { readLooseOffset, writeOffset } from './bytes.ts';
import { REQUEST_MAGIC } from './constants.ts';
import { ProtocolFault } from './fault.ts';

export const REQUEST_BYTES = 28;

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

export function encodeRequest({ flags = 0, command, cookie, offset, length }: Request): Buffer {
  const bytes = Buffer.alloc(REQUEST_BYTES);
  bytes.writeUInt32BE(REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(flags, 4);
  bytes.writeUInt16BE(command, 6);
  bytes.writeBigUInt64BE(cookie, 8);
  writeOffset(bytes, 16, offset);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

/**
 * Parses the {@link REQUEST_BYTES} at `at`.
 * @throws ProtocolFault when they do not begin with the magic; every other field may be anything
 */
export function parseRequest(bytes: Buffer, at: number): Required<Request> {
  const magic = bytes.readUInt32BE(at);
  if (magic !== REQUEST_MAGIC) throw new ProtocolFault(`a request has the magic 0x${magic.toString(16)}`);
  return {
    flags: bytes.readUInt16BE(at + 4),
    command: bytes.readUInt16BE(at + 6),
    cookie: bytes.readBigUInt64BE(at + 8),
    offset: readLooseOffset(bytes, at + 16),
    length: bytes.readUInt32BE(at + 24),
  };
}
