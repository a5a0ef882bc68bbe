/** An incremental SHA-256. */
export interface Hash {
  update(bytes: Uint8Array): Hash;
  /** The 32 bytes of the digest. The hash cannot be used afterwards. */
  digest(): Uint8Array;
  /** Another hash of the same bytes so far. */
  copy(): Hash;
}

/** One implementation of SHA-256 (FIPS 180-4). All give the same bytes; one conformance suite runs over all. */
export interface HashCodec {
  readonly name: string;
  create(): Hash;
  /** The digest of bytes that are all there. */
  digest(bytes: Uint8Array): Uint8Array;
  /** How many messages it is best given at once; 1 when that makes no difference. */
  readonly lanes: number;
  /** The digest of each of several messages. */
  digests(messages: readonly Uint8Array[]): Uint8Array[];
}

/** A codec whose library knows one message at a time. */
export function oneByOne(codec: Omit<HashCodec, 'lanes' | 'digests'>): HashCodec {
  return { ...codec, lanes: 1, digests: (messages) => messages.map((message) => codec.digest(message)) };
}
