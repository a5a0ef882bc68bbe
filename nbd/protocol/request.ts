import { REQUEST_MAGIC } from './constants.ts';

/** A request without payload ("Request message"). */
export interface Request {
  /** Of `Command`. */
  readonly command: number;
  /** Chosen by the client; the replies carry it. */
  readonly cookie: bigint;
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
}

export function encodeRequest({ command, cookie, offset, length }: Request): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt32BE(REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(command, 6);
  bytes.writeBigUInt64BE(cookie, 8);
  bytes.writeBigUInt64BE(BigInt(offset), 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}
