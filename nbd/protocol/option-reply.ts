import { OPTION_ERROR_BIT, OPTION_REPLY_MAGIC, OptionError } from './constants.ts';
import { ProtocolFault } from './fault.ts';

export const OPTION_REPLY_HEADER_BYTES = 20;

/** Longer replies are refused before anything is allocated: the longest that the specification knows has two strings. */
export const MAX_OPTION_REPLY_BYTES = 16 * 1024;

/** Head of the reply to an option ("Fixed newstyle negotiation"). */
export interface OptionReplyHeader {
  /** Of `OptionReply` or, with bit 31, of `OptionError`. */
  readonly type: number;
  /** Bytes of data behind the header. */
  readonly length: number;
}

/**
 * @param option that was sent
 * @throws ProtocolFault when it is no reply, one to another option, or too long
 */
export function parseOptionReplyHeader(bytes: Buffer, option: number): OptionReplyHeader {
  const magic = bytes.readBigUInt64BE(0);
  if (magic !== OPTION_REPLY_MAGIC)
    throw new ProtocolFault(`an option reply has the magic 0x${magic.toString(16)}`);
  const about = bytes.readUInt32BE(8);
  if (about !== option)
    throw new ProtocolFault(`option ${option} was answered by a reply to option ${about}`);
  const type = bytes.readUInt32BE(12);
  const length = bytes.readUInt32BE(16);
  if (length > MAX_OPTION_REPLY_BYTES)
    throw new ProtocolFault(`the reply to option ${option} has ${length} bytes`);
  return { type, length };
}

/** @param type of `OptionReply` or `OptionError` */
export function encodeOptionReply(
  option: number,
  type: number,
  data: Uint8Array = new Uint8Array(0),
): Buffer {
  const header = Buffer.alloc(OPTION_REPLY_HEADER_BYTES);
  header.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(type, 12);
  header.writeUInt32BE(data.length, 16);
  return Buffer.concat([header, data]);
}

export function isOptionError(type: number): boolean {
  return type >= OPTION_ERROR_BIT;
}

const ERROR_TEXTS: Readonly<Record<number, string>> = {
  [OptionError.unsupported]: 'does not know the option',
  [OptionError.policy]: 'does not allow it',
  [OptionError.invalid]: 'calls the request invalid',
  [OptionError.platform]: 'cannot do it on its platform',
  [OptionError.tlsRequired]: 'requires TLS',
  [OptionError.unknown]: 'has no such export',
  [OptionError.shutdown]: 'is shutting down',
  [OptionError.blockSizeRequired]: 'wants a client that keeps to block sizes',
  [OptionError.tooBig]: 'finds the request too large',
};

/** What an error reply says, to stand behind "the server"; `type` is of `OptionError`. */
export function optionErrorText(type: number): string {
  return ERROR_TEXTS[type] ?? `answered with the unknown error ${type - OPTION_ERROR_BIT}`;
}
