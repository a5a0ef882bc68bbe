import { OPTION_MAGIC } from './constants.ts';
import { ProtocolFault } from './fault.ts';

export const OPTION_HEADER_BYTES = 16;

/** Head of an option ("Newstyle negotiation"). */
export interface OptionHeader {
  /** Of `Option`. */
  readonly option: number;
  /** Bytes of data behind the header. */
  readonly length: number;
}

/** An option with its data. */
export function encodeOption(option: number, data: Uint8Array = new Uint8Array(0)): Buffer {
  const header = Buffer.alloc(OPTION_HEADER_BYTES);
  header.writeBigUInt64BE(OPTION_MAGIC, 0);
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(data.length, 12);
  return Buffer.concat([header, data]);
}

/** @throws ProtocolFault when it does not begin with the magic */
export function parseOptionHeader(bytes: Buffer): OptionHeader {
  const magic = bytes.readBigUInt64BE(0);
  if (magic !== OPTION_MAGIC) throw new ProtocolFault(`an option has the magic 0x${magic.toString(16)}`);
  return { option: bytes.readUInt32BE(8), length: bytes.readUInt32BE(12) };
}
