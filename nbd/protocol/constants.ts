/**
 * Numbers of the NBD protocol, by section of its specification (doc/proto.md of NetworkBlockDevice/nbd). All integers on the
 * wire are big-endian.
 *
 * @module
 */

/** "Newstyle negotiation": what a server says first, `NBDMAGIC`, then which style, `IHAVEOPT`; the latter also begins each option. */
export const SERVER_MAGIC = 0x4e42444d41474943n;
export const OPTION_MAGIC = 0x49484156454f5054n;
/** "Oldstyle negotiation": what an oldstyle server says in the place of {@link OPTION_MAGIC}. */
export const OLDSTYLE_MAGIC = 0x00420281861253n;
/** "Fixed newstyle negotiation". */
export const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
/** "Transmission". */
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
/** The same where extended headers were agreed on (the extension `EXTENDED_HEADERS`). */
export const EXTENDED_REQUEST_MAGIC = 0x21e41c71;
export const EXTENDED_REPLY_MAGIC = 0x6e8a278c;

/** "Handshake flags", and with the same values "Client flags". */
export const HandshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const;

/** "Transmission flags". */
export const TransmissionFlag = {
  hasFlags: 1,
  readOnly: 2,
  sendFlush: 4,
  sendFua: 8,
  sendTrim: 32,
  sendWriteZeroes: 64,
  sendDf: 128,
  canMultiConn: 256,
  sendCache: 1024,
  sendFastZero: 2048,
} as const;

/** "Option types". */
export const Option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
  extendedHeaders: 11,
} as const;

/** "Option reply types" of success. */
export const OptionReply = { ack: 1, server: 2, info: 3, metaContext: 4 } as const;

/** Set in every option reply type that is an error. */
export const OPTION_ERROR_BIT = 0x80000000;

/** "Option reply types" of failure. */
export const OptionError = {
  unsupported: OPTION_ERROR_BIT + 1,
  policy: OPTION_ERROR_BIT + 2,
  invalid: OPTION_ERROR_BIT + 3,
  platform: OPTION_ERROR_BIT + 4,
  tlsRequired: OPTION_ERROR_BIT + 5,
  unknown: OPTION_ERROR_BIT + 6,
  shutdown: OPTION_ERROR_BIT + 7,
  blockSizeRequired: OPTION_ERROR_BIT + 8,
  tooBig: OPTION_ERROR_BIT + 9,
  extendedHeadersRequired: OPTION_ERROR_BIT + 10,
} as const;

/** "Option types", information that `NBD_OPT_GO` asks for and `NBD_REP_INFO` gives. */
export const Info = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

/** "Request types". */
export const Command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

/** "Command flags". */
export const CommandFlag = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16, payloadLength: 32 } as const;

/** "Structured reply flags": the last chunk of a reply. */
export const CHUNK_DONE = 1;

/** "Structured reply types". */
export const Chunk = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  extendedBlockStatus: 6,
  error: 0x8001,
  errorOffset: 0x8002,
} as const;

/** Set in every chunk type that is an error. */
export const CHUNK_ERROR_BIT = 0x8000;

/** "The `base:allocation` metadata context". */
export const ALLOCATION_CONTEXT = 'base:allocation';
export const AllocationFlag = { hole: 1, zero: 2 } as const;

/** "Conventions": no string is longer, in bytes. */
export const MAX_STRING_BYTES = 4096;
