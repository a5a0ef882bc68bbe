import { HandshakeFlag, OLDSTYLE_MAGIC, OPTION_MAGIC, SERVER_MAGIC } from './constants.ts';
import { ProtocolFault } from './fault.ts';

/** Bytes of a newstyle server's greeting; an oldstyle one's is longer. */
export const GREETING_BYTES = 18;
/** Bytes that tell the style. */
export const GREETING_MAGIC_BYTES = 16;

export const CLIENT_FLAGS_BYTES = 4;
const KNOWN_FLAGS = HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes;

/** What a server says first ("Newstyle negotiation"), and what a client answers. */
export interface Greeting {
  readonly fixedNewstyle: boolean;
  readonly noZeroes: boolean;
}

/** Which style a server speaks, by its first {@link GREETING_MAGIC_BYTES}. @throws ProtocolFault when it is no NBD server */
export function parseStyle(bytes: Buffer): 'newstyle' | 'oldstyle' {
  if (bytes.readBigUInt64BE(0) !== SERVER_MAGIC)
    throw new ProtocolFault('is no NBD server: it does not say NBDMAGIC');
  const style = bytes.readBigUInt64BE(8);
  if (style === OPTION_MAGIC) return 'newstyle';
  if (style === OLDSTYLE_MAGIC) return 'oldstyle';
  throw new ProtocolFault(`speaks no known kind of NBD: its second magic is 0x${style.toString(16)}`);
}

/** The flags behind the magics of a newstyle server ("Handshake flags"). */
export function parseHandshakeFlags(flags: number): Greeting {
  return {
    fixedNewstyle: (flags & HandshakeFlag.fixedNewstyle) !== 0,
    noZeroes: (flags & HandshakeFlag.noZeroes) !== 0,
  };
}

/** The client's answer ("Client flags"). */
export function encodeClientFlags({ noZeroes }: Greeting): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(HandshakeFlag.fixedNewstyle | (noZeroes ? HandshakeFlag.noZeroes : 0));
  return bytes;
}

/** What a newstyle server says first; it knows both of "Handshake flags". */
export function encodeGreeting(): Buffer {
  const bytes = Buffer.alloc(GREETING_BYTES);
  bytes.writeBigUInt64BE(SERVER_MAGIC, 0);
  bytes.writeBigUInt64BE(OPTION_MAGIC, 8);
  bytes.writeUInt16BE(KNOWN_FLAGS, GREETING_MAGIC_BYTES);
  return bytes;
}

/** The client's answer to {@link encodeGreeting}. @throws ProtocolFault for flags that the server did not offer */
export function parseClientFlags(bytes: Buffer): Greeting {
  const flags = bytes.readUInt32BE(0);
  if ((flags & ~KNOWN_FLAGS) !== 0)
    throw new ProtocolFault(`it sets the unknown flags 0x${flags.toString(16)}`);
  return parseHandshakeFlags(flags);
}
