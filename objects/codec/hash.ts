/** An incremental SHA-256. */
export interface Hash {
  update(bytes: Uint8Array): Hash;
  /** The 32 bytes of the digest. The hash cannot be used afterwards. */
  digest(): Uint8Array;
}

/** One implementation of SHA-256 (FIPS 180-4). All give the same bytes; one conformance suite runs over all. */
export interface HashCodec {
  readonly name: string;
  create(): Hash;
  /** The digest of bytes that are all there. */
  digest(bytes: Uint8Array): Uint8Array;
}
